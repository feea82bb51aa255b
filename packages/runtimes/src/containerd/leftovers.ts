/** What containerd, its shims and runc leave on the host outside our folders or after a crash, found by our own names. */
import { createHash } from 'node:crypto';
import { existsSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  cgroupFolders,
  commandLine,
  endProcess,
  type Identity,
  mountsBelow,
  processesWithArgument,
  removeCgroup,
  unmountBelow,
} from '@skerry/host';
import type { Id } from '@skerry/model';
import type { Engine } from './engine.ts';

/** Sockets of all shims of the machine: a fixed place, names are hashes (containerd's runtime/v2/shim, SocketAddress). */
const SHIM_SOCKETS = '/run/containerd/s';

export const shimSocket = (engineSocket: string, namespace: string, id: string): string =>
  join(
    SHIM_SOCKETS,
    createHash('sha256')
      .update(join(engineSocket, namespace, id))
      .digest('hex'),
  );

export const hasShimSocket = (engine: Engine, identity: Identity, id: string): boolean =>
  existsSync(shimSocket(engine.socket, identity.engineNamespace, id));

/** Guests that a shim runs for, whether or not containerd knows of it. */
export function shimsOf({ engineNamespace }: Identity): Id<'instance'>[] {
  return processesWithArgument(engineNamespace).flatMap((ref) => {
    const words = commandLine(ref);
    const at = words.indexOf('-id');
    return at < 0 || words.includes('delete') ? [] : [words[at + 1] as Id<'instance'>]; // those that delete clear up
  });
}

export function removeShimSocket(engine: Engine, identity: Identity, id: string): void {
  rmSync(shimSocket(engine.socket, identity.engineNamespace, id), { force: true });
}

/**
 * Ends what the making of a task left when whoever asked for it was killed: containerd breaks it off, but a shim and a runc
 * that have begun go on, and keep its place. containerd itself clears up after a shim that is gone.
 */
export async function endMakers(identity: Identity, id: string): Promise<void> {
  const space = identity.engineNamespace;
  const makers = processesWithArgument(id).filter((ref) => {
    const words = commandLine(ref);
    return words.some((word) => word.includes(space)) && !words.includes('delete'); // those clear up
  });
  await Promise.all(makers.map((ref) => endProcess(ref, 0)));
}

/** The folder of a task that nobody knows any more: containerd left it there when it was killed, and makes none beside it. */
export async function removeBundle(
  path: string,
  identity: Identity,
  id: string,
  signal: AbortSignal,
): Promise<void> {
  if (!path.endsWith(`/${identity.engineNamespace}/${id}`)) return;
  await unmountBelow(path, signal);
  rmSync(path, { recursive: true, force: true });
}

export async function unmountGuest(folder: string, signal: AbortSignal): Promise<void> {
  if (mountsBelow(folder).length > 0) await unmountBelow(folder, signal);
}

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // somebody else's things are in it, or it is gone
  }
}

/** After the engine ended or let our namespace go: shims without an engine, mounts, folders, shared folders that are empty. */
export async function clearEngine(engine: Engine, identity: Identity, signal: AbortSignal): Promise<void> {
  const { paths } = engine;
  // The engine by its configuration, shims by our namespace: others may have theirs on the same engine.
  for (const argument of [paths.config, identity.engineNamespace]) {
    await Promise.all(processesWithArgument(argument).map((ref) => endProcess(ref, 0)));
  }
  const engineFolder = join(identity.dataDir, 'containerd');
  for (const folder of [paths.folder, engineFolder, join(identity.runDir, 'exec')]) {
    await unmountBelow(folder, signal);
    rmSync(folder, { recursive: true, force: true });
  }
  for (const folder of [SHIM_SOCKETS, '/run/containerd', identity.runDir]) removeIfEmpty(folder);
}

/** What guests share and the last one leaves: also others' runtimes use it, so only where it is empty. */
export async function clearShared(identity: Identity): Promise<void> {
  removeIfEmpty(join(identity.dataDir, 'guests'));
  if (cgroupFolders(identity.cgroup).length > 0) removeCgroup(identity.cgroup); // what has a process in it stays
}
