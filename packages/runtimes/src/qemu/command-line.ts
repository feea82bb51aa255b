/** The command line of a unikernel's QEMU: nothing that is not asked for, nothing that a guest does not need. Pure. */
import type { GuestSpec } from '../port.ts';
import { tcgBufferMiB } from './memory.ts';

export interface LaunchPlan {
  readonly machine: 'microvm' | 'q35';
  readonly acceleration: 'kvm' | 'tcg';
  readonly memoryMiB: number;
  readonly cpus: number;
  readonly hasInitrd: boolean;
  readonly kernelArguments: string;
  readonly mac?: string;
}

const SANDBOX = 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny';

const accelerator = (plan: LaunchPlan) =>
  plan.acceleration === 'kvm'
    ? 'kvm'
    : `tcg,thread=${plan.cpus > 1 ? 'multi' : 'single'},tb-size=${tcgBufferMiB(plan.memoryMiB)}`;

/** File descriptors as skerry-run hands them over. */
const KERNEL = '/proc/self/fd/7';
const INITRD = '/proc/self/fd/8';

export function qemuArguments(plan: LaunchPlan): string[] {
  const micro = plan.machine === 'microvm';
  const machine = micro
    ? 'microvm,acpi=off,pit=off,pic=off,rtc=on,usb=off'
    : 'q35,usb=off,vmport=off,hpet=off';
  const network =
    plan.mac === undefined
      ? []
      : [
          '-netdev',
          'tap,id=n0,fd=4',
          '-device',
          `${micro ? 'virtio-net-device' : 'virtio-net-pci,romfile='},netdev=n0,mac=${plan.mac}`,
        ];
  return [
    '-nodefaults',
    '-no-user-config',
    '-no-reboot',
    ...['-display', 'none'],
    ...['-sandbox', SANDBOX],
    ...['-machine', `${machine},memory-backend=ram`],
    // Guest memory in a memfd: anonymous memory is rounded up to huge pages, which makes all of a small guest resident.
    ...['-object', `memory-backend-memfd,id=ram,size=${plan.memoryMiB}M,share=on`],
    ...['-accel', accelerator(plan)],
    ...['-cpu', plan.acceleration === 'kvm' ? 'host' : 'max'],
    ...['-m', `${plan.memoryMiB}M`],
    ...['-smp', String(plan.cpus)],
    ...(micro ? ['-global', 'virtio-mmio.force-legacy=false'] : ['-device', 'pvpanic']),
    ...['-kernel', KERNEL],
    ...(plan.hasInitrd ? ['-initrd', INITRD] : []),
    ...(plan.kernelArguments === '' ? [] : ['-append', plan.kernelArguments]),
    ...['-chardev', 'socket,id=con,fd=3', '-serial', 'chardev:con'],
    ...['-chardev', 'socket,id=mon,fd=5,server=on,wait=off', '-mon', 'chardev=mon,mode=control'],
    ...['-chardev', 'socket,id=own,fd=6', '-mon', 'chardev=own,mode=control'],
    ...network,
    ...['-device', 'isa-debug-exit,iobase=0x501,iosize=2'],
    '-S', // until skerry-run lets it begin
  ];
}

/** Percent-escapes what would end a word of the command line. */
const word = (text: string) => encodeURIComponent(text).replaceAll("'", '%27');

export interface KernelArgumentOptions {
  readonly kind: 'function' | 'unikernel';
  readonly family: string;
  readonly nowMs: number;
  /** 32 random bytes in hex. */
  readonly seed: string;
}

/** What the guest is told: its address, its name, its port; for pebble in pebble's words, for others in their own. */
export function kernelArguments(spec: GuestSpec, options: KernelArgumentOptions): string {
  const { network } = spec;
  const own = [...(spec.command ?? []), ...(spec.args ?? [])];
  if (options.kind === 'function') {
    const port = spec.ports.find((one) => one.protocol === 'tcp')?.port ?? 8080;
    return [
      ...(network ? [`ip=${network.address}/${network.prefixLength}`, `gw=${network.gateway}`] : []),
      `port=${port}`,
      `name=${spec.name}`,
      `time=${options.nowMs}`,
      `seed=${options.seed}`,
      ...Object.entries(spec.env).map(([key, value]) => `env.${key}=${word(value)}`),
      ...own,
    ].join(' ');
  }
  if (network && spec.addressing === 'static') {
    const { address, prefixLength, gateway, dns } = network;
    if (options.family === 'unikraft')
      return `${spec.name} netdev.ip=${address}/${prefixLength}:${gateway}:${dns} -- ${own.join(' ')}`.trim();
    if (options.family === 'osv')
      return [
        `--ip=eth0,${address},${netmask(prefixLength)}`,
        `--defaultgw=${gateway}`,
        `--nameserver=${dns}`,
        ...own,
      ].join(' ');
    if (options.family === 'solo5')
      return [`--ipv4=${address}/${prefixLength}`, `--ipv4-gateway=${gateway}`, ...own].join(' ');
  }
  return own.join(' ');
}

function netmask(prefixLength: number): string {
  const bits = prefixLength === 0 ? 0 : (0xffffffff << (32 - prefixLength)) >>> 0;
  return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 255).join('.');
}
