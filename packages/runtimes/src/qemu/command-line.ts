/** The command line of a unikernel's QEMU: nothing that is not asked for, nothing that a guest does not need. Pure. */
import type { Machine } from '@skerry/images';
import type { FamilyRules } from './families/rules.ts';
import type { HandedOver } from './launch.ts';
import { tcgBufferMiB } from './memory.ts';

/** A disk of the guest: a file of its own, and for an image the image below, which is never written. */
export interface PlannedDisk {
  readonly path: string;
  readonly format: 'raw' | 'qcow2';
  readonly base?: { readonly path: string; readonly format: 'raw' | 'qcow2' };
  /** The firmware starts from it. */
  readonly boots: boolean;
}

export interface LaunchPlan {
  readonly machine: Machine;
  readonly acceleration: 'kvm' | 'tcg';
  readonly memoryMiB: number;
  readonly cpus: number;
  /** Absent: it starts from its disk. */
  readonly kernel?: string;
  readonly initrd?: string;
  /** Words for what `initrd` is loaded as, where that is a program. */
  readonly initrdWords?: string;
  readonly kernelArguments: string;
  readonly mac?: string;
  readonly disks?: readonly PlannedDisk[];
  /** In which order disks and network are plugged in, by kind; default network, then disks. */
  readonly deviceOrder?: readonly ('net' | 'block')[];
  /** What the family of the kernel wants; default: as any. */
  readonly rules?: Partial<
    Pick<FamilyRules, 'machineOptions' | 'needsHpet' | 'network' | 'firstSlot' | 'exitPort' | 'randomDevice'>
  >;
}

const SANDBOX = 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny';
const FIRST_FD = 7;

const accelerator = (plan: LaunchPlan) =>
  plan.acceleration === 'kvm'
    ? 'kvm'
    : `tcg,thread=${plan.cpus > 1 ? 'multi' : 'single'},tb-size=${tcgBufferMiB(plan.memoryMiB)}`;

const MACHINES: Record<Machine, string> = {
  microvm: 'microvm,acpi=off,pit=off,pic=off,rtc=on,usb=off',
  q35: 'q35,usb=off,vmport=off',
  pc: 'pc,usb=off,vmport=off',
  virt: 'virt,usb=off',
};

function machineOptions({ machine, rules = {} }: LaunchPlan): string {
  const isPc = machine === 'q35' || machine === 'pc';
  const hpet = isPc && !rules.needsHpet ? 'hpet=off' : undefined;
  return [MACHINES[machine], hpet, rules.machineOptions, 'memory-backend=ram'].filter(Boolean).join(',');
}

/** What skerry-run hands over, in the order of its file descriptors. */
class Hands {
  readonly all: HandedOver[] = [];

  fd(as: HandedOver['as'], path: string): number {
    return FIRST_FD + this.all.push({ as, path }) - 1;
  }
}

/** A file that QEMU opens to load it, once. */
const loaded = (fd: number) => `/proc/self/fd/${fd}`;

function diskArguments({ disks = [] }: LaunchPlan, hands: Hands): string[] {
  const node = (name: string, path: string, format: string, readOnly: boolean, more: object = {}) => {
    const fd = hands.fd(readOnly ? 'open' : 'disk', path);
    const access = { 'read-only': readOnly, 'auto-read-only': false };
    const file = { driver: 'file', filename: `/dev/fdset/${fd}`, ...access };
    const options = { driver: format, 'node-name': name, ...access, file, ...more };
    return ['-add-fd', `fd=${fd},set=${fd}`, '-blockdev', JSON.stringify(options)];
  };
  return disks.flatMap(({ path, format, base }, index) => [
    // `backing: null`: whatever its header may say, nothing lies under it
    ...(base
      ? node(`base${index}`, base.path, base.format, true, base.format === 'qcow2' ? { backing: null } : {})
      : []),
    ...node(
      `disk${index}`,
      path,
      format,
      false,
      format === 'qcow2' ? { backing: base ? `base${index}` : null } : {},
    ),
  ]);
}

function deviceArguments(plan: LaunchPlan): string[] {
  const { machine, mac, disks = [], rules = {} } = plan;
  const micro = machine === 'microvm';
  const net =
    mac === undefined
      ? []
      : [
          `virtio-net-${micro ? 'device' : 'pci,romfile='},netdev=n0,mac=${mac}${!micro && rules.network ? `,${rules.network}` : ''}`,
        ];
  const blocks = disks.map(
    ({ boots }, index) =>
      `virtio-blk-${micro ? 'device' : 'pci'},drive=disk${index},werror=report${boots ? ',bootindex=0' : ''}`,
  );
  const waiting = { net: [...net], block: [...blocks] };
  const ordered = (plan.deviceOrder ?? []).flatMap((kind) => waiting[kind].shift() ?? []);
  const devices = [...ordered, ...waiting.net, ...waiting.block];
  const slot = rules.firstSlot;
  return devices.flatMap((device, index) => [
    '-device',
    slot === undefined || micro ? device : `${device},addr=0x${(slot + index).toString(16)}`,
  ]);
}

export interface QemuCommand {
  readonly handedOver: readonly HandedOver[];
  readonly args: readonly string[];
}

/** A comma would end the name of a module; QEMU takes two for one. */
const moduleWords = (words: string | undefined) => (words ? ` ${words.replaceAll(',', ',,')}` : '');

export function qemuCommand(plan: LaunchPlan): QemuCommand {
  const { machine, kernel, initrd, rules = {} } = plan;
  const micro = machine === 'microvm';
  const isArm = machine === 'virt';
  const hands = new Hands();
  const exitPort = rules.exitPort ?? { base: 0x501, bytes: 2 };
  const args = [
    '-nodefaults',
    '-no-user-config',
    '-no-reboot',
    ...['-display', 'none'],
    ...['-sandbox', SANDBOX],
    ...['-machine', machineOptions(plan)],
    // Guest memory in a memfd: anonymous memory is rounded up to huge pages, which makes all of a small guest resident.
    ...['-object', `memory-backend-memfd,id=ram,size=${plan.memoryMiB}M,share=on`],
    ...['-accel', accelerator(plan)],
    ...['-cpu', plan.acceleration === 'kvm' ? 'host' : 'max'],
    ...['-m', `${plan.memoryMiB}M`],
    ...['-smp', String(plan.cpus)],
    ...(micro
      ? ['-global', 'virtio-mmio.force-legacy=false']
      : ['-device', isArm ? 'pvpanic-pci' : 'pvpanic']),
    ...(kernel === undefined ? ['-boot', 'strict=on'] : ['-kernel', loaded(hands.fd('open', kernel))]),
    ...(initrd === undefined
      ? []
      : ['-initrd', `${loaded(hands.fd('open', initrd))}${moduleWords(plan.initrdWords)}`]),
    ...(plan.kernelArguments === '' ? [] : ['-append', plan.kernelArguments]),
    ...['-chardev', 'socket,id=con,fd=3', '-serial', 'chardev:con'],
    ...['-chardev', 'socket,id=mon,fd=5,server=on,wait=off', '-mon', 'chardev=mon,mode=control'],
    ...['-chardev', 'socket,id=own,fd=6', '-mon', 'chardev=own,mode=control'],
    ...(plan.mac === undefined ? [] : ['-netdev', 'tap,id=n0,fd=4']),
    // Writes are done by threads, of which QEMU starts up to 64: more than its group may have.
    ...(plan.disks?.length ? ['-object', 'main-loop,id=loop,thread-pool-max=8'] : []),
    ...diskArguments(plan, hands),
    ...deviceArguments(plan),
    ...(rules.randomDevice && !micro
      ? ['-object', 'rng-builtin,id=rng', '-device', 'virtio-rng-pci,rng=rng']
      : []),
    ...(isArm
      ? []
      : ['-device', `isa-debug-exit,iobase=0x${exitPort.base.toString(16)},iosize=${exitPort.bytes}`]),
    '-S', // until skerry-run lets it begin
  ];
  return { handedOver: hands.all, args };
}
