/** What else a virtual machine can: hold still, show its screen, get a larger disk or less memory. */
import { readFile } from 'node:fs/promises';
import type { QmpClient } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import type { DisplayPower, PausePower, ResizePower } from '../port.ts';
import { memoryMiBOf } from '../qemu/memory.ts';
import { DISK_NODE, SCREEN_FD } from './command-line.ts';
import { qemuImg, wholeSectors } from './disks.ts';
import type { VmGuests } from './guests.ts';
import { diskOf, type VmRecord } from './record.ts';

function running(qmp: QmpClient | undefined): QmpClient {
  if (qmp) return qmp;
  throw new SkerryError('guest_not_running', 'the guest does not run');
}

export function vmPause(guests: VmGuests): PausePower {
  return {
    pause: (uid) => guests.alone(uid, async ({ qmp }) => void (await running(qmp).execute('stop'))),
    resume: (uid) => guests.alone(uid, async ({ qmp }) => void (await running(qmp).execute('cont'))),
  };
}

export function vmDisplay(guests: VmGuests): DisplayPower {
  const withScreen = ({ spec }: VmRecord) => {
    if (!spec.display)
      throw new SkerryError(
        'unsupported',
        `${spec.name} was made without a display: set display: true in its manifest and apply it again`,
      );
  };
  return {
    socket: (uid) =>
      guests.alone(uid, async ({ folder, record, qmp }) => {
        withScreen(record);
        running(qmp);
        return folder.path('vnc');
      }),
    screenshot: (uid) =>
      guests.alone(uid, async ({ folder, record, qmp }) => {
        withScreen(record);
        const filename = `/proc/self/fd/${SCREEN_FD}`;
        await running(qmp).execute('screendump', undefined, { filename, format: 'png' });
        return readFile(folder.path('screen.png'));
      }),
  };
}

export function vmResize(guests: VmGuests): ResizePower {
  return {
    growDisk: (uid, sizeBytes, signal) =>
      guests.alone(uid, async ({ folder, record, qmp }) => {
        const path = diskOf(folder);
        const size = wholeSectors(sizeBytes);
        const info = await qemuImg(['info', '--output=json', '-U', '-f', 'qcow2', path], signal);
        const now = (JSON.parse(info) as { 'virtual-size': number })['virtual-size'];
        if (size < now) {
          const text = `the disk of ${record.spec.name} has ${now} bytes already and never shrinks`;
          throw new SkerryError('request_invalid', text);
        }
        if (size === now) return;
        if (qmp) await qmp.execute('block_resize', undefined, { 'node-name': DISK_NODE, size });
        else await qemuImg(['resize', '-q', '-f', 'qcow2', path, String(size)], signal);
      }),
    setMemory: (uid, memoryBytes) =>
      guests.alone(uid, async ({ record, qmp }) => {
        const most = memoryMiBOf(record.spec.memoryBytes) * 1024 * 1024;
        if (memoryBytes > most || memoryBytes < 1024 * 1024) {
          const text = `${record.spec.name} was made with ${most} bytes of memory: it may use that at the most, and 1 MiB at the least`;
          throw new SkerryError('request_invalid', text);
        }
        await running(qmp).execute('balloon', undefined, { value: Math.floor(memoryBytes) });
      }),
  };
}
