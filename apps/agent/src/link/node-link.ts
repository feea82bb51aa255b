/** What is asked of the node on demand and never stored: logs, figures, commands, consoles, findings. */
import type { NodeLink } from '@skerry/contract';
import { type Id, type ProbeFinding, SkerryError } from '@skerry/model';
import type { NodeNetwork } from '@skerry/network';
import type { Runtime } from '@skerry/runtimes';

export interface NodeLinkOptions {
  /** Undefined: the node has no such instance. */
  readonly runtimeOf: (uid: Id<'instance'>) => Runtime | undefined;
  readonly network: NodeNetwork;
  readonly probe: (signal: AbortSignal) => Promise<ProbeFinding[]>;
}

/** Errors of every verb: not_found, unsupported, guest_not_running, and those of the runtime. */
export function createNodeLink(options: NodeLinkOptions): NodeLink {
  const runtimeOf = (uid: Id<'instance'>): Runtime => {
    const runtime = options.runtimeOf(uid);
    if (!runtime) throw new SkerryError('not_found', `this node has no instance ${uid}`);
    return runtime;
  };
  const power = <P>(runtime: Runtime, found: P | undefined, what: string): P => {
    if (found === undefined)
      throw new SkerryError('unsupported', `the runtime ${runtime.kind} has no ${what}`);
    return found;
  };
  return {
    logs: (uid, query, signal) => runtimeOf(uid).logs(uid, query, signal),
    async stats(uid, signal) {
      const [stats, bytes] = await Promise.all([
        runtimeOf(uid).stats(uid, signal),
        options.network.counters(uid).catch(() => undefined), // figures without traffic are better than none
      ]);
      return bytes ? { ...stats, ...bytes } : stats;
    },
    async exec(uid, request, signal) {
      const runtime = runtimeOf(uid);
      return power(runtime, runtime.exec, 'way to run a command in a guest').exec(uid, request, signal);
    },
    async console(uid, signal) {
      const runtime = runtimeOf(uid);
      return power(runtime, runtime.console, 'console').open(uid, signal);
    },
    probe: options.probe,
  };
}
