/**
 * Whether hardware acceleration really works: a `kvm` device that opens is no proof, so a real guest is started once with it,
 * as all guests are. pebble without a network device says so and ends with code 6: then its code ran. The answer holds until
 * the next boot, or until QEMU or the device change.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { endProcess, type Identity, identityOf, processesWithArgument, writeFileDurably } from '@skerry/host';
import { asSkerryError, type Id, SkerryError } from '@skerry/model';
import { Turns } from '../turns.ts';
import { GuestFolder } from './guest-folder.ts';
import { QEMU, supervise } from './supervise.ts';

export interface Acceleration {
  readonly kind: 'kvm' | 'tcg';
  /** Why not kvm, and what would help. */
  readonly reason?: string;
  readonly remedy?: string;
  /** Group of /dev/kvm that the guests' user gets. */
  readonly group?: number;
}

export interface AccelerationOptions {
  readonly identity: Identity;
  readonly kernelPath: string;
  readonly supervisorPath: string;
}

const KVM = '/dev/kvm';
/** Two runtimes of a node may ask at once: the second one reads what the first one found. */
const turns = new Turns();
const NO_NETWORK_STATUS = 13;
const LIMIT_MS = 3000;

const withoutKvm = (reason: string, remedy: string): Acceleration => ({ kind: 'tcg', reason, remedy });

async function probe(options: AccelerationOptions, signal: AbortSignal): Promise<Acceleration> {
  const device = statSync(KVM, { throwIfNoEntry: false });
  if (!device) {
    return withoutKvm(
      'this machine has no /dev/kvm',
      'enable virtualization in the firmware, or nested virtualization on the host of this machine',
    );
  }
  const group = (device.mode & 0o006) === 0o006 ? undefined : device.gid;
  if (group === 0 || (group !== undefined && (device.mode & 0o060) !== 0o060)) {
    return withoutKvm(
      '/dev/kvm is open to root alone, and guests do not run as root',
      'chgrp kvm /dev/kvm && chmod 660 /dev/kvm',
    );
  }
  const failure = await startProbe(options, group, signal);
  if (failure === undefined) return { kind: 'kvm', ...(group === undefined ? {} : { group }) };
  return withoutKvm(
    `/dev/kvm is there, but a guest that was started with it failed: ${failure.slice(0, 200)}`,
    'use a machine whose host lets its guests use virtualization',
  );
}

/** Why the guest did not run; undefined where it did. */
async function startProbe(
  { identity, kernelPath, supervisorPath }: AccelerationOptions,
  group: number | undefined,
  signal: AbortSignal,
): Promise<string | undefined> {
  const root = join(identity.runDir, 'probe');
  const folder = new GuestFolder({ ...identityOf(identity.id, root), runDir: root }, 'kvm' as Id<'instance'>);
  rmSync(root, { recursive: true, force: true });
  folder.make();
  const mark = `guest=probe-${identity.id}`;
  try {
    mkdirSync(folder.run, { recursive: true });
    await supervise(
      {
        ...{ supervisorPath, runFolder: folder.run, logFolder: folder.data, mark },
        ...(group === undefined ? {} : { group }),
        plan: {
          ...{ machine: 'microvm', acceleration: 'kvm', memoryMiB: 8, cpus: 1, kernel: kernelPath },
          kernelArguments: 'ip=10.0.2.15/24',
        },
      },
      signal,
    );
    const until = performance.now() + LIMIT_MS;
    while (!folder.ended() && performance.now() < until) await pause(10, undefined, { signal });
    const end = folder.ended();
    if (end?.how === 'exited' && end.number === NO_NETWORK_STATUS) return undefined;
    const { console, errors } = await folder.tail();
    const words = errors[0] ?? console.at(-1) ?? 'it said nothing'; // QEMU's first words name the fault
    return end ? `${end.how} ${end.number}: ${words}` : `it did not end within ${LIMIT_MS} ms: ${words}`;
  } catch (thrown) {
    if (signal.aborted) throw thrown;
    return asSkerryError(thrown).message;
  } finally {
    const left = processesWithArgument(mark);
    await Promise.all(left.map((process) => endProcess(process, 0)));
    rmSync(root, { recursive: true, force: true });
  }
}

/** Errors: host_missing without QEMU. The answer is kept in the run folder. */
export async function probeAcceleration(
  options: AccelerationOptions,
  signal: AbortSignal,
): Promise<Acceleration> {
  const path = join(options.identity.runDir, 'acceleration.json');
  const qemu = statSync(QEMU, { throwIfNoEntry: false });
  if (!qemu)
    throw new SkerryError('host_missing', `${QEMU} is not installed: apt-get install qemu-system-x86`);
  for (const needed of [options.kernelPath, options.supervisorPath]) {
    if (!existsSync(needed))
      throw new SkerryError('host_missing', `${needed} was not built: run \`make setup\``);
  }
  if ((statSync(options.kernelPath).mode & 0o004) === 0) {
    const text = `${options.kernelPath} can not be read by the user that guests run as: chmod a+r`;
    throw new SkerryError('host_missing', text);
  }
  return turns.take(path, () => kept(path, qemu, options, signal));
}

/** The answer of before, or of now. */
async function kept(
  path: string,
  qemu: Stats,
  options: AccelerationOptions,
  signal: AbortSignal,
): Promise<Acceleration> {
  const device = statSync(KVM, { throwIfNoEntry: false });
  const key = [qemu.mtimeMs, qemu.size, device?.ctimeMs, device?.mode, device?.gid].join(' ');
  try {
    const before = JSON.parse(readFileSync(path, 'utf8')) as { key: string; answer: Acceleration };
    if (before.key === key) return before.answer;
  } catch {
    // not probed since the machine booted
  }
  const answer = await probe(options, signal);
  mkdirSync(options.identity.runDir, { recursive: true, mode: 0o711 });
  writeFileDurably(path, JSON.stringify({ key, answer }));
  return answer;
}
