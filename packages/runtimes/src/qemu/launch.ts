/** Starts skerry-run with what it hands to QEMU; returns when QEMU runs under it, in its groups, with nothing of ours attached. */
import { type CgroupLimits, GUEST_GID, GUEST_UID, makeCgroup, run } from '@skerry/host';
import { asSkerryError, SkerryError } from '@skerry/model';

const START_LIMIT_MS = 15_000;

/** What QEMU gets as file descriptors, from 7 on and in this order (native/skerry-run.c has what each is). */
export interface HandedOver {
  readonly as: 'open' | 'disk' | 'card' | 'listen' | 'swtpm';
  /** Absolute path; for `listen` a name in the run folder, for `card` the name of a tap. */
  readonly path: string;
}

export interface Launch {
  readonly supervisorPath: string;
  /** Its folder for sockets, pid and exit; the folder of its log. Both are there. */
  readonly runFolder: string;
  readonly logFolder: string;
  readonly cgroup?: { readonly path: string; readonly limits: CgroupLimits };
  /** Group of /dev/kvm. */
  readonly group?: number;
  readonly tap?: string;
  /** Frames of the tap without the header that virtio puts before each. */
  readonly plainFrames?: boolean;
  readonly handedOver: readonly HandedOver[];
  /** Name of a socket in the run folder that takes viewers of the screen. */
  readonly vnc?: string;
  /** No huge pages: for guests of a few MiB. */
  readonly smallPages?: boolean;
  /** How long QEMU may take after it said that it ends. Default 2 s. */
  readonly endLimitMs?: number;
  /** An argument by which the processes are found. */
  readonly mark: string;
  readonly program: string;
  readonly args: readonly string[];
}

const options = (name: string, values: readonly (string | number | undefined)[]) =>
  values.flatMap((value) => (value === undefined ? [] : [`--${name}`, String(value)]));

/** Errors: guest_start_failed with what the supervisor said, cancelled. */
export async function launch(what: Launch, signal: AbortSignal): Promise<void> {
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
      ...options('frames', [what.plainFrames ? 'plain' : undefined]),
      ...options('cgroup', entries),
      ...options('pages', [what.smallPages ? 'small' : undefined]),
      ...options('vnc', [what.vnc]),
      ...options('end-limit', [what.endLimitMs]),
      ...options('mark', [what.handedOver.some((one) => one.as === 'swtpm') ? what.mark : undefined]),
      ...what.handedOver.flatMap((one) => options(one.as, [one.path])),
      ...['--', what.program, '-name', what.mark, ...what.args],
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
