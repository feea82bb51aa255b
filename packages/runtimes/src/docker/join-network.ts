/**
 * Brings the guest's interface into its container. Podman takes the prepared namespace by its path. Docker makes one of its
 * own, and the interface is handed over: as soon as the container's first process is there, which is well before its
 * program is executed in it; that process is held for as long. Where it was not found in time, right after the start.
 *
 *   start asked --> first process in its new namespace --> held --> interface handed over --> let go --> program runs
 *
 * Whoever is killed while it holds one leaves it held, and the engine waiting for it: `letGo` comes first when a guest is
 * looked at again.
 */
import { setTimeout as pause } from 'node:timers/promises';
import {
  hasIpv6,
  type Identity,
  isContainerInit,
  isInNetns,
  processRef,
  readCgroup,
  signalProcess,
} from '@skerry/host';
import { ipv6Hex } from '@skerry/model';
import { handOverNetns } from '@skerry/network';
import type { GuestSpec } from '../port.ts';

export type NetnsAttachment = Extract<GuestSpec['network'], { kind: 'netns' }>;

const LOOK_EVERY_MS = 2;
const HAND_OVER_LIMIT_MS = 10_000;

/** Where a container's group may be, by the engine's driver; the first that has a process is it. */
const groupsOf = (identity: Identity, containerId: string): string[] => [
  `${identity.cgroup}/${containerId}`,
  `/system.slice/docker-${containerId}.scope`,
];

function initOf(groups: readonly string[]): number | undefined {
  for (const group of groups) {
    const pids = readCgroup(group, 'pids', 'cgroup.procs')?.split('\n').filter(Boolean).map(Number) ?? [];
    const init = pids.find(isContainerInit);
    if (init !== undefined) return init;
  }
  return undefined;
}

/** Waits for the first process and hands over to it; undefined where `over` was aborted before. Never throws. */
export async function handOverEarly(
  identity: Identity,
  containerId: string,
  network: NetnsAttachment,
  over: AbortSignal,
): Promise<number | undefined> {
  const groups = groupsOf(identity, containerId);
  try {
    for (; !over.aborted; await pause(LOOK_EVERY_MS, undefined, { signal: over })) {
      const init = initOf(groups);
      const process = init === undefined ? undefined : processRef(init);
      if (init === undefined || process === undefined) continue;
      signalProcess(process, 'SIGSTOP');
      try {
        await handOverNetns(network, init, AbortSignal.timeout(HAND_OVER_LIMIT_MS));
      } finally {
        signalProcess(process, 'SIGCONT');
      }
      return init;
    }
  } catch {
    // the start is over, or it will be done after it
  }
  return undefined;
}

/** What somebody held when it was killed goes on. Needs no engine. */
export function letGo(identity: Identity, containerId: string): void {
  const init = initOf(groupsOf(identity, containerId));
  const process = init === undefined ? undefined : processRef(init);
  if (process) signalProcess(process, 'SIGCONT');
}

/** Idempotent. `done`: it was whole once, and only has to be so still. Errors: host_command_failed. */
export async function ensureNetwork(
  network: NetnsAttachment,
  pid: number,
  done: boolean,
  signal: AbortSignal,
): Promise<void> {
  if (processRef(pid) === undefined) return; // it has ended already: nothing needs the interface there
  // Docker turns IPv6 off while it starts the container, and with it goes what was set before.
  const whole = network.v6 === undefined || hasIpv6(pid, ipv6Hex(network.v6.address));
  if (!done || !whole || !isInNetns(network.netns, pid)) await handOverNetns(network, pid, signal);
}
