/**
 * A virtual machine as one starts it by hand, from the same disk: with the machine, processor and devices that Skerry gives
 * it, or with as few words as QEMU needs. No supervisor, no monitor, no limits; bridge, tap, DHCP server and overlay are made
 * beforehand and are not in the time.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cpuMs, pssBytes } from '../processes.ts';
import { firstAnswer, HARBOUR, HARBOUR_INITRD, HARBOUR_KERNEL } from '../skerry.ts';
import { background, end, run } from './program.ts';
import { makeWire } from './wire.ts';

const NETWORK = '198.18.78'; // of the range for benchmarks, RFC 2544

/** What is done otherwise than Skerry does it with a disk that boots by itself, one choice at a time. */
export interface Words {
  /** As few words as QEMU needs: its own choice of all. */
  readonly plain?: boolean;
  /** QEMU loads the disk's kernel and initramfs from files. */
  readonly direct?: boolean;
  readonly wholeBoard?: boolean;
  readonly display?: boolean;
  readonly usualBuffer?: boolean;
  readonly oldProcessor?: boolean;
  readonly qboot?: boolean;
}

export interface HandMachine {
  /**
   * Milliseconds from starting QEMU to the guest's first HTTP answer, of processor time that it took meanwhile, and what all
   * of it takes of memory then (PSS).
   */
  start(words: Words): Promise<{ readonly ms: number; readonly cpuMs: number; readonly pssBytes: number }>;
  end(): Promise<void>;
}

const EVERY_MS = 20;
/** One for all: the DHCP server has one address to give. */
const MAC = '02:53:0a:00:00:03';

/** What the disk's boot loader says to the kernel. */
const KERNEL_WORDS = 'console=ttyS0 quiet panic=-1';

function commandOf(words: Words, disk: string, tap: string, console: string): string[] {
  if (words.plain)
    return [
      ...['-m', '128M', '-display', 'none', '-serial', `file:${console}`],
      ...['-drive', `file=${disk},format=qcow2,if=virtio`],
      ...['-nic', `tap,ifname=${tap},script=no,downscript=no,model=virtio-net-pci,mac=${MAC}`],
    ];
  const board = 'pc-q35-7.2,usb=off,vmport=off,hpet=off,smbus=off,sata=off,smm=off';
  const machine = words.wholeBoard ? 'q35' : board;
  const processor = words.oldProcessor ? 'qemu64' : 'Nehalem';
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-machine', machine],
    ...['-accel', `tcg,thread=single${words.usualBuffer ? '' : ',tb-size=24'}`, '-cpu', processor],
    ...['-m', '128M', '-smp', '1', '-serial', `file:${console}`],
    ...['-drive', `file=${disk},format=qcow2,if=none,id=disk`],
    ...(words.direct ? ['-kernel', HARBOUR_KERNEL, '-initrd', HARBOUR_INITRD, '-append', KERNEL_WORDS] : []),
    ...(words.qboot ? ['-bios', 'qboot.rom'] : []),
    ...['-device', `virtio-blk-pci,drive=disk,bootindex=${words.direct ? 1 : 0}`],
    ...['-netdev', `tap,id=n0,ifname=${tap},script=no,downscript=no`],
    ...['-device', `virtio-net-pci,romfile=,netdev=n0,mac=${MAC}`],
    ...['-device', 'virtio-rng-pci', '-device', 'virtio-balloon-pci', '-device', 'pvpanic'],
    ...['-device', 'virtio-serial-pci'],
    ...(words.display ? ['-device', 'VGA'] : []),
  ];
}

export async function machineByHand(): Promise<HandMachine> {
  const folder = mkdtempSync(join(tmpdir(), 'skbench-'));
  const wire = await makeWire(NETWORK, folder, true);
  const disk = join(folder, 'disk.qcow2');
  return {
    async start(words) {
      await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', HARBOUR, '-F', 'qcow2', disk]);
      await wire.forget();
      const command = commandOf(words, disk, wire.tap, join(folder, 'console'));
      const begunMs = performance.now();
      const qemu = background('qemu-system-x86_64', command, join(folder, 'qemu.log'));
      try {
        const ms = (await firstAnswer(`${NETWORK}.2`, '/healthz', EVERY_MS)) - begunMs;
        return { ms, cpuMs: cpuMs(qemu.pid!), pssBytes: pssBytes(qemu.pid!) };
      } finally {
        await end(qemu);
      }
    },
    async end() {
      await wire.end();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
