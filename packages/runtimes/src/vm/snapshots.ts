/**
 * Snapshots of a virtual machine: inside its own qcow2, so that they go with it. Of one that runs with its memory: it goes
 * on exactly where it was. A volume keeps no snapshots, so a guest that writes to one has none with its memory: it would
 * come back to a disk that it does not know.
 */
import type { QmpClient } from '@skerry/host';
import { type Bytes, SkerryError } from '@skerry/model';
import type { GuestSnapshot, SnapshotPower } from '../port.ts';
import { DISK_NODE } from './command-line.ts';
import { qemuImg } from './disks.ts';
import type { VmGuests } from './guests.ts';
import { runJob } from './jobs.ts';
import { diskOf, type VmFolder } from './record.ts';

interface Known {
  readonly id: string;
  readonly name: string;
  readonly 'vm-state-size': number;
  readonly 'date-sec': number;
  readonly 'date-nsec': number;
}

/** QEMU takes a number for a snapshot's place in its list, not for its name. */
const NAME = /^[a-z][a-z0-9-]{0,62}$/;
const ALL = { vmstate: DISK_NODE, devices: [DISK_NODE] };

const asSnapshot = (one: Known): GuestSnapshot => ({
  name: one.name,
  takenAtMs: one['date-sec'] * 1000 + Math.floor(one['date-nsec'] / 1e6),
  sizeBytes: one['vm-state-size'] as Bytes,
  withMemory: one['vm-state-size'] > 0,
});

async function known(folder: VmFolder, qmp: QmpClient | undefined, signal: AbortSignal): Promise<Known[]> {
  if (qmp) {
    const nodes = await qmp.execute('query-named-block-nodes', undefined, { flat: true });
    return [...(nodes.find((node) => node['node-name'] === DISK_NODE)?.image.snapshots ?? [])];
  }
  const text = await qemuImg(['info', '--output=json', '-f', 'qcow2', diskOf(folder)], signal);
  return (JSON.parse(text) as { snapshots?: Known[] }).snapshots ?? [];
}

/** Commas end an option's value: doubled, they do not (qemu(1), "-drive"). */
const asQcow2 = (path: string) => `driver=qcow2,file.driver=file,file.filename=${path.replaceAll(',', ',,')}`;

export function vmSnapshots(guests: VmGuests): SnapshotPower {
  const offline = (folder: VmFolder, action: '-c' | '-a' | '-d', name: string, signal: AbortSignal) =>
    qemuImg(['snapshot', '-q', action, name, '--image-opts', asQcow2(diskOf(folder))], signal);
  const find = async (folder: VmFolder, qmp: QmpClient | undefined, name: string, signal: AbortSignal) =>
    (await known(folder, qmp, signal)).find((one) => one.name === name);

  return {
    list: (uid, signal) =>
      guests.alone(uid, async ({ folder, qmp }) => (await known(folder, qmp, signal)).map(asSnapshot)),

    take: (uid, name, signal) =>
      guests.alone(uid, async ({ folder, record, qmp }) => {
        if (!NAME.test(name))
          throw new SkerryError('request_invalid', 'a snapshot is named by small letters, digits and dashes');
        if (await find(folder, qmp, name, signal))
          throw new SkerryError('conflict', `there is a snapshot "${name}" of ${record.spec.name}`);
        const written = record.spec.volumes.find((volume) => !volume.readOnly);
        if (qmp && written) {
          const text = `${record.spec.name} runs and writes to the volume "${written.name}", which keeps no snapshots: stop it first`;
          throw new SkerryError('unsupported', text);
        }
        if (qmp) {
          await runJob(
            qmp,
            (id) => qmp.execute('snapshot-save', undefined, { 'job-id': id, tag: name, ...ALL }),
            signal,
          );
        } else await offline(folder, '-c', name, signal);
        return asSnapshot((await find(folder, qmp, name, signal))!);
      }),

    restore: (uid, name, signal) =>
      guests.alone(uid, async ({ folder, record, qmp }) => {
        const found = await find(folder, qmp, name, signal);
        if (!found)
          throw new SkerryError('not_found', `there is no snapshot "${name}" of ${record.spec.name}`);
        if (!qmp) return void (await offline(folder, '-a', name, signal));
        if (found['vm-state-size'] === 0) {
          const text = `the snapshot "${name}" has no memory, and ${record.spec.name} runs: stop it first`;
          throw new SkerryError('unsupported', text);
        }
        await runJob(
          qmp,
          (id) => qmp.execute('snapshot-load', undefined, { 'job-id': id, tag: name, ...ALL }),
          signal,
        );
      }),

    remove: (uid, name, signal) =>
      guests.alone(uid, async ({ folder, qmp }) => {
        if (!(await find(folder, qmp, name, signal))) return;
        if (!qmp) return void (await offline(folder, '-d', name, signal));
        const devices = [DISK_NODE];
        await runJob(
          qmp,
          (id) => qmp.execute('snapshot-delete', undefined, { 'job-id': id, tag: name, devices }),
          signal,
        );
      }),
  };
}
