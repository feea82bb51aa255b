/** Starts skerry-run, which starts QEMU; returns when QEMU runs under it, in its groups, with nothing of ours attached. */
import { type CgroupLimits, GUEST_GID, GUEST_UID, makeCgroup, run } from '@skerry/host';
import { asSkerryError, SkerryError } from '@skerry/model';
import { type LaunchPlan, qemuArguments } from './command-line.ts';
import { isSmall } from './memory.ts';

export const QEMU = '/usr/bin/qemu-system-x86_64';
const START_LIMIT_MS = 15_000;

export interface Supervised {
  readonly supervisorPath: string;
  /** Its folder for sockets, pid and exit; the folder of its log. Both are there. */
  readonly runFolder: string;
  readonly logFolder: string;
  readonly cgroup?: { readonly path: string; readonly limits: CgroupLimits };
  /** Group of /dev/kvm. */
  readonly group?: number;
  readonly tap?: string;
  readonly kernel: string;
  readonly initrd?: string;
  /** An argument by which the processes are found. */
  readonly mark: string;
  readonly plan: LaunchPlan;
}

const options = (name: string, values: readonly (string | number | undefined)[]) =>
  values.flatMap((value) => (value === undefined ? [] : [`--${name}`, String(value)]));

/** Errors: guest_start_failed with what the supervisor said, cancelled. */
export async function supervise(what: Supervised, signal: AbortSignal): Promise<void> {
  const { cgroup } = what;
  try {
    const entries = cgroup ? makeCgroup(cgroup.path, cgroup.limits) : [];
    const args = [
      ...options('folder', [what.runFolder]),
      ...options('log', [what.logFolder]),
      ...options('uid', [GUEST_UID]),
      ...options('gid', [GUEST_GID]),
      ...options('group', [what.group]),
      ...options('tap', [what.tap]),
      ...options('cgroup', entries),
      ...options('pages', [isSmall(what.plan.memoryMiB) ? 'small' : undefined]),
      ...options('open', [what.kernel, what.initrd]),
      ...['--', QEMU, '-name', what.mark, ...qemuArguments(what.plan)],
    ];
    await run(what.supervisorPath, args, { signal, timeoutMs: START_LIMIT_MS });
  } catch (cause) {
    const error = asSkerryError(cause);
    if (error.code === 'cancelled') throw error;
    throw new SkerryError('guest_start_failed', `the guest could not be started: ${error.message}`, {
      cause,
    });
  }
}
