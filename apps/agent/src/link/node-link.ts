/** What is asked of the node on demand and never stored: logs, figures, commands, consoles, findings. */
import type { NodeLink } from '@skerry/contract';
import { type Id, type ProbeFinding, SkerryError } from '@skerry/model';
import type { NodeNetwork } from '@skerry/network';
import type { PreviousLogs, Runtime } from '@skerry/runtimes';

export interface NodeLinkOptions {
  /** Undefined: the node has no such instance. */
  readonly runtimeOf: (uid: Id<'instance'>) => Runtime | undefined;
  /** What is known of the guest may be wrong now. */
  readonly look: (uid: Id<'instance'>) => void;
  readonly previousLogs?: PreviousLogs;
  readonly network: NodeNetwork;
  readonly probe: (signal: AbortSignal) => Promise<ProbeFinding[]>;
  readonly hub?: NonNullable<NodeLink['hub']>;
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
  const snapshotsOf = (uid: Id<'instance'>) => {
    const runtime = runtimeOf(uid);
    return power(runtime, runtime.snapshot, 'snapshots');
  };
  const sizesOf = (uid: Id<'instance'>) => {
    const runtime = runtimeOf(uid);
    return power(runtime, runtime.resize, 'way to change a size while a guest is there');
  };
  const screenOf = (uid: Id<'instance'>) => {
    const runtime = runtimeOf(uid);
    return power(runtime, runtime.display, 'screen');
  };
  return {
    logs(uid, query, signal) {
      const runtime = runtimeOf(uid);
      if (!query.previous) return runtime.logs(uid, query, signal);
      return power(runtime, options.previousLogs, 'log of a run before').read(uid, query, signal);
    },
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
    async pause(uid, signal) {
      const runtime = runtimeOf(uid);
      await power(runtime, runtime.pause, 'way to let a guest hold still').pause(uid, signal);
      options.look(uid);
    },
    async resume(uid, signal) {
      const runtime = runtimeOf(uid);
      await power(runtime, runtime.pause, 'way to let a guest hold still').resume(uid, signal);
      options.look(uid);
    },
    snapshots: async (uid, signal) => snapshotsOf(uid).list(uid, signal),
    takeSnapshot: async (uid, name, signal) => snapshotsOf(uid).take(uid, name, signal),
    async restoreSnapshot(uid, name, signal) {
      await snapshotsOf(uid).restore(uid, name, signal);
      options.look(uid);
    },
    removeSnapshot: async (uid, name, signal) => snapshotsOf(uid).remove(uid, name, signal),
    growDisk: async (uid, sizeBytes, signal) => sizesOf(uid).growDisk(uid, sizeBytes, signal),
    setMemory: async (uid, memoryBytes, signal) => sizesOf(uid).setMemory(uid, memoryBytes, signal),
    display: async (uid, signal) => screenOf(uid).socket(uid, signal),
    screenshot: async (uid, signal) => screenOf(uid).screenshot(uid, signal),
    probe: options.probe,
    ...(options.hub && { hub: options.hub }),
  };
}
