/** Starts one guest: its control group, its supervisor, its monitor; then lets it run. Nothing is left of a start that failed. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { GUEST_GID, GUEST_UID, isAlive, makeCgroup, startDaemon } from '@skerry/host';
import type { ImageContent } from '@skerry/images';
import { type Bytes, SkerryError } from '@skerry/model';
import type { GuestSpec } from '../port.ts';
import { type Acceleration, QEMU } from './acceleration.ts';
import { kernelArguments, type LaunchPlan, qemuArguments } from './command-line.ts';
import type { GuestFolder } from './guest-folder.ts';
import type { LiveGuest } from './live-guest.ts';

const MiB = 1024 * 1024;
const START_LIMIT_MS = 15_000;
/** QEMU and the supervisor together: threads of QEMU, and room for more processors. */
const PIDS = 64;

export interface KernelImage {
  readonly kind: 'function' | 'unikernel';
  readonly kernel: string;
  readonly initrd?: string;
  readonly machine: 'microvm' | 'q35';
  readonly family: string;
}

/** Errors: image_not_found, image_wrong_kind. */
export async function kernelImage(
  images: ImageContent,
  digest: string,
  pebblePath: string,
): Promise<KernelImage> {
  const record = await images.facts(digest);
  if (record.kind === 'function') {
    return {
      kind: 'function',
      kernel: pebblePath,
      initrd: images.blobPath(digest),
      machine: 'microvm',
      family: 'pebble',
    };
  }
  if (record.kind !== 'unikernel') {
    throw new SkerryError(
      'image_wrong_kind',
      `the image is a ${record.kind} image, the runtime unikernel needs a kernel or a function`,
    );
  }
  const { machines, family } = record.facts as { machines?: ('microvm' | 'q35')[]; family?: string };
  // Only images that are known to look for virtio-mmio do well on microvm; q35 has what most expect.
  const machine = family === 'generic' && machines?.[0] === 'microvm' ? 'microvm' : 'q35';
  return { kind: 'unikernel', kernel: images.blobPath(digest), machine, family: family ?? 'generic' };
}

/**
 * What QEMU itself takes beside the guest's memory, measured as PSS on QEMU 7.2 with TCG and an 8 MiB guest: 17 MiB; the
 * group's limit leaves room above it, for page tables and bursts.
 */
export const overheadBytes = (memoryBytes: number): Bytes =>
  Math.round(20 * MiB + memoryBytes * 0.02) as Bytes;
const groupSlackBytes = 32 * MiB;

export const memoryMiBOf = (spec: GuestSpec): number => Math.max(2, Math.floor(spec.memoryBytes / MiB));

export interface LaunchOptions {
  readonly supervisorPath: string;
  readonly acceleration: Acceleration;
  readonly image: KernelImage;
  readonly attach: () => Promise<LiveGuest | undefined>;
  readonly signal: AbortSignal;
}

/** Returns the guest, running. Errors: guest_start_failed with what QEMU or the supervisor said. */
export async function launch(
  folder: GuestFolder,
  spec: GuestSpec,
  options: LaunchOptions,
): Promise<LiveGuest> {
  const { image, acceleration, signal } = options;
  const { network } = spec;
  if (network && network.kind !== 'tap') {
    throw new SkerryError('unsupported', 'a unikernel needs a tap device, not a network namespace');
  }
  const plan: LaunchPlan = {
    machine: image.machine,
    acceleration: acceleration.kind,
    memoryMiB: memoryMiBOf(spec),
    cpus: Math.max(1, Math.ceil(spec.cpus)),
    hasInitrd: image.initrd !== undefined,
    kernelArguments: kernelArguments(spec, {
      kind: image.kind,
      family: image.family,
      nowMs: Date.now(),
      seed: randomBytes(32).toString('hex'),
    }),
    ...(network ? { mac: network.mac } : {}),
  };
  const groups = makeCgroup(folder.cgroup, {
    cpus: spec.cpus,
    memoryBytes: spec.memoryBytes + overheadBytes(spec.memoryBytes) + groupSlackBytes,
    pids: PIDS,
  });
  const errors = `${folder.run}/errors`;
  const supervisor = await startDaemon({
    file: options.supervisorPath,
    args: [
      ...[
        '--folder',
        folder.run,
        '--log',
        folder.data,
        '--uid',
        String(GUEST_UID),
        '--gid',
        String(GUEST_GID),
      ],
      ...(acceleration.group === undefined ? [] : ['--group', String(acceleration.group)]),
      ...(network ? ['--tap', network.device] : []),
      ...groups.flatMap((group) => ['--cgroup', group]),
      ...['--open', image.kernel, ...(image.initrd ? ['--open', image.initrd] : [])],
      ...['--', QEMU, '-name', `guest=${folder.uid}`, ...qemuArguments(plan)],
    ],
    logFile: errors,
  });
  const until = performance.now() + START_LIMIT_MS;
  const failed = async (why: string) => {
    const words = (await readFile(errors, 'utf8').catch(() => '')).trim().split('\n').slice(-3).join(' | ');
    return new SkerryError('guest_start_failed', `${why}${words ? `: ${words.slice(0, 400)}` : ''}`);
  };
  while (!existsSync(folder.path('pid'))) {
    if (!isAlive(supervisor)) throw await failed('the guest could not be started');
    if (performance.now() > until) throw await failed('the guest was not started in time');
    await pause(1, undefined, { signal });
  }
  const live = await options.attach().catch(() => undefined);
  if (!live?.qmp) throw await failed('QEMU ended at once');
  await live.qmp.execute('cont');
  return live;
}
