/**
 * The command line of a virtual machine's QEMU, and what is handed to it. Every disk comes as an open file with its format
 * said: QEMU itself opens nothing of ours, probes nothing, and listens nowhere. Pure.
 */
import type { HandedOver } from '../qemu/launch.ts';
import { memoryMiBOf } from '../qemu/memory.ts';
import { type Arch, BOARDS } from './machine.ts';
import { tcgBufferMiB } from './memory.ts';
import type { BootFiles } from './vm-image.ts';

export interface VmPlan {
  readonly arch: Arch;
  readonly machine: string;
  readonly acceleration: 'kvm' | 'tcg';
  readonly cpuModel: 'portable' | 'host';
  readonly cpus: number;
  readonly memoryBytes: number;
  /** RFC 9562 form. */
  readonly uuid: string;
  readonly disk: string;
  /** What the disk lies over. */
  readonly backing?: { readonly path: string; readonly format: 'raw' | 'qcow2' };
  /** CDs, the first one bootable after the disk. */
  readonly cdroms: readonly string[];
  readonly seed?: string;
  readonly volumes: readonly { readonly name: string; readonly path: string; readonly readOnly: boolean }[];
  /** Loaded in place of what the disk has to start. */
  readonly boot?: BootFiles;
  readonly uefi?: { readonly code: string; readonly variables: string; readonly secureBoot: boolean };
  /** Folder of its state. */
  readonly tpm?: string;
  readonly mac?: string;
  /** After the first one, in this order: names of their taps. */
  readonly cards: readonly { readonly device: string; readonly mac: string }[];
  readonly display: boolean;
  /** The file that a screenshot is written to; belongs to the guests' user. */
  readonly screen: string;
}

export interface VmCommand {
  readonly handedOver: readonly HandedOver[];
  readonly args: readonly string[];
}

const SANDBOX = 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny';
const FIRST_FD = 7;
/** Node names that QMP commands use. */
export const DISK_NODE = 'disk';
export const VARIABLES_NODE = 'uefi-vars';
/** Of the character device and of the port that the agent inside opens: their events name it. */
export const AGENT = 'agent';
/** What QEMU writes a screenshot to: a file that it did not open by its path. */
export const SCREEN_FD = FIRST_FD;
/** virtio-blk's serial has 20 bytes (virtio 1.2, 5.2.6). */
const SERIAL_LENGTH = 20;

/** Collects what is handed over, each with its number. */
class Hands {
  readonly handedOver: HandedOver[] = [];

  fd(as: HandedOver['as'], path: string): number {
    return FIRST_FD + this.handedOver.push({ as, path }) - 1;
  }
}

const blockdev = (options: object) => ['-blockdev', JSON.stringify(options)];

export function vmCommand(plan: VmPlan): VmCommand {
  const hands = new Hands();
  hands.fd('open', plan.screen); // SCREEN_FD
  const sets: string[] = [];
  /** A block node over a file that is handed over, in a format that is said. */
  const node = (
    name: string,
    path: string,
    format: 'raw' | 'qcow2',
    readOnly: boolean,
    more: object = {},
  ) => {
    const fd = hands.fd(readOnly ? 'open' : 'disk', path);
    sets.push('-add-fd', `fd=${fd},set=${fd}`);
    const access = { 'read-only': readOnly, 'auto-read-only': false };
    const file = { driver: 'file', filename: `/dev/fdset/${fd}`, ...access, discard: 'unmap' };
    return blockdev({ driver: format, 'node-name': name, ...access, discard: 'unmap', file, ...more });
  };
  const blocks = [
    ...(plan.backing
      ? // `backing: null`: whatever its header may say, nothing lies under it
        node(
          'base',
          plan.backing.path,
          plan.backing.format,
          true,
          plan.backing.format === 'qcow2' ? { backing: null } : {},
        )
      : []),
    ...node(DISK_NODE, plan.disk, 'qcow2', false, { backing: plan.backing ? 'base' : null }),
    ...plan.cdroms.flatMap((path, index) => node(`cd${index}`, path, 'raw', true)),
    ...(plan.seed === undefined ? [] : node('seed', plan.seed, 'raw', true)),
    ...plan.volumes.flatMap(({ path, readOnly }, index) => node(`volume${index}`, path, 'raw', readOnly)),
    ...(plan.uefi
      ? [
          ...blockdev({
            driver: 'file',
            'node-name': 'uefi-code',
            filename: plan.uefi.code,
            'read-only': true,
          }),
          ...node(VARIABLES_NODE, plan.uefi.variables, 'qcow2', false),
        ]
      : []),
  ];
  /** A file that QEMU opens to load it, once; at each reset it has it still. */
  const loaded = (path: string) => `/proc/self/fd/${hands.fd('open', path)}`;
  const kernel = plan.boot && [
    ...['-kernel', loaded(plan.boot.kernel), '-append', plan.boot.arguments],
    ...(plan.boot.initrd === undefined ? [] : ['-initrd', loaded(plan.boot.initrd)]),
  ];
  const agent = hands.fd('listen', AGENT);
  const tpm = plan.tpm === undefined ? undefined : hands.fd('swtpm', plan.tpm);
  const cards = plan.cards.flatMap(({ device, mac }, index) => [
    ...['-netdev', `tap,id=n${index + 1},fd=${hands.fd('card', device)}`],
    ...['-device', `virtio-net-pci,romfile=,netdev=n${index + 1},mac=${mac}`],
  ]);
  const memoryMiB = memoryMiBOf(plan.memoryBytes);
  const args = [
    ...['-nodefaults', '-no-user-config', '-display', 'none'],
    ...['-sandbox', SANDBOX],
    ...['-machine', machine(plan)],
    ...['-object', `memory-backend-memfd,id=ram,size=${memoryMiB}M,share=on`],
    ...['-accel', accelerator(plan, memoryMiB)],
    ...['-cpu', cpu(plan)],
    ...['-m', `${memoryMiB}M`],
    ...['-smp', String(plan.cpus)],
    ...['-uuid', plan.uuid],
    ...['-boot', 'strict=on'], // what has no place in the boot order is not tried
    ...(plan.uefi?.secureBoot ? ['-global', 'driver=cfi.pflash01,property=secure,value=on'] : []),
    ...['-chardev', 'socket,id=con,fd=3', '-serial', 'chardev:con'],
    ...['-chardev', 'socket,id=mon,fd=5,server=on,wait=off', '-mon', 'chardev=mon,mode=control'],
    ...['-chardev', 'socket,id=own,fd=6', '-mon', 'chardev=own,mode=control'],
    ...(kernel ?? []),
    ...sets,
    ...blocks,
    ...devices(plan),
    ...cards,
    ...['-chardev', `socket,id=${AGENT},fd=${agent},server=on,wait=off`],
    ...['-device', 'virtio-serial-pci'],
    ...['-device', `virtserialport,id=${AGENT},chardev=${AGENT},name=org.qemu.guest_agent.0`],
    ...(tpm === undefined
      ? []
      : [
          ...['-chardev', `socket,id=tpm,fd=${tpm}`, '-tpmdev', 'emulator,id=tpm0,chardev=tpm'],
          ...['-device', `${plan.arch === 'amd64' ? 'tpm-crb' : 'tpm-tis-device'},tpmdev=tpm0`],
        ]),
    '-S', // until skerry-run lets it begin
  ];
  return { handedOver: hands.handedOver, args };
}

function machine({ arch, machine: name, cdroms, uefi }: VmPlan): string {
  const flash = uefi ? `,pflash0=uefi-code,pflash1=${VARIABLES_NODE}` : '';
  if (arch === 'arm64') return `${name},gic-version=3,usb=off,memory-backend=ram${flash}`;
  const sata = cdroms.length > 0 ? 'on' : 'off';
  const smm = uefi?.secureBoot ? 'on' : 'off';
  return `${name},usb=off,vmport=off,hpet=off,smbus=off,sata=${sata},smm=${smm},memory-backend=ram${flash}`;
}

const accelerator = ({ acceleration, cpus }: VmPlan, memoryMiB: number) =>
  acceleration === 'kvm'
    ? 'kvm'
    : `tcg,thread=${cpus > 1 ? 'multi' : 'single'},tb-size=${tcgBufferMiB(memoryMiB)}`;

function cpu({ arch, acceleration, cpuModel }: VmPlan): string {
  if (cpuModel === 'portable') return BOARDS[arch].portableCpu;
  return acceleration === 'kvm' ? 'host' : 'max';
}

function devices(plan: VmPlan): string[] {
  // Writing fails: the guest holds still until there is room again. Reading fails: the same, it may be passing.
  const stop = 'werror=stop,rerror=stop';
  const first = plan.boot ? 1 : 0; // before all devices comes the program that takes a kernel over from QEMU
  return [
    ...['-device', `virtio-blk-pci,drive=${DISK_NODE},serial=disk,bootindex=${first},${stop}`],
    ...(plan.arch === 'arm64' && plan.cdroms.length > 0 ? ['-device', 'virtio-scsi-pci,id=scsi'] : []),
    ...plan.cdroms.flatMap((_, index) => {
      const bus = plan.arch === 'amd64' ? `ide-cd,bus=ide.${index}` : `scsi-cd,bus=scsi.0,scsi-id=${index}`;
      return ['-device', `${bus},drive=cd${index},bootindex=${first + index + 1}`];
    }),
    ...(plan.seed === undefined ? [] : ['-device', 'virtio-blk-pci,drive=seed,serial=cidata']),
    ...plan.volumes.flatMap(({ name }, index) => [
      '-device',
      `virtio-blk-pci,drive=volume${index},serial=${name.slice(0, SERIAL_LENGTH)},${stop}`,
    ]),
    ...(plan.mac === undefined
      ? []
      : ['-netdev', 'tap,id=n0,fd=4', '-device', `virtio-net-pci,romfile=,netdev=n0,mac=${plan.mac}`]),
    ...['-object', 'rng-builtin,id=rng', '-device', 'virtio-rng-pci,rng=rng'],
    // What a guest frees goes back to the host by itself; `setMemory` takes more.
    ...['-device', 'virtio-balloon-pci,id=balloon,free-page-reporting=on,deflate-on-oom=on'],
    ...['-device', plan.arch === 'amd64' ? 'pvpanic' : 'pvpanic-pci'],
    ...(plan.display
      ? [
          ...['-vnc', 'none', '-device', plan.arch === 'amd64' ? 'VGA' : 'virtio-gpu-pci'],
          ...['-device', 'qemu-xhci', '-device', 'usb-tablet'],
          // A PC has a keyboard of its own; keys would go to a second one that its firmware used, driver or not.
          ...(plan.arch === 'amd64' ? [] : ['-device', 'usb-kbd']),
        ]
      : []),
  ];
}
