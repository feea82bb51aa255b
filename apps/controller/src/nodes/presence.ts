/**
 * Whether the agents are there. An agent that holds its session is; one that has let go of it for longer than the grace
 * is lost, and what it runs with it: it may well go on running, but nobody here knows. Heartbeats are never stored.
 */
import type { Instance, Node } from '@skerry/model';
import { type Core, change } from '../core.ts';
import { keyOf } from '../state/keys.ts';
import { touched } from '../state/resource.ts';

export const GRACE_MS = 30_000;
const RETRY_MS = 1000;
/**
 * What one agent's return may take of a slow machine (a handshake, a registration). After a restart, or a cut of the network,
 * all come at once: while they come, who is still in the queue is not lost.
 */
const RETURN_MS = 10;
const COMING_MS = 2000;

export interface Presence {
  /** An agent began to listen; the returned function tells that it ended. */
  connected(node: string): () => void;
  /** An agent said something. */
  seen(node: string): void;
  /** Nodes of before a restart get the grace to come back. */
  start(): void;
  stop(): void;
}

export function createPresence(core: Core): Presence {
  const sessions = new Map<string, number>();
  const timers = new Map<string, () => void>();
  let stopped = false;
  let lastCameMs = Number.NEGATIVE_INFINITY;

  const cancel = (node: string) => {
    timers.get(node)?.();
    timers.delete(node);
  };
  const expect = (node: string, leastMs = 0) => {
    cancel(node);
    if (stopped || (sessions.get(node) ?? 0) > 0) return;
    core.absences.began(node);
    const inMs = Math.max(leastMs, core.nodeGraceMs - core.absences.forMs(node));
    const lose = async () => {
      const returnMs = core.view.count('nodes') * RETURN_MS;
      const areComing = core.clock.monotonicMs() - lastCameMs < COMING_MS;
      if (areComing && core.absences.forMs(node) < core.nodeGraceMs + returnMs)
        return expect(node, Math.min(RETRY_MS, returnMs));
      await markLost(core, node).catch((error) => {
        core.logger.error({ err: error, node }, 'the node could not be marked as lost');
        expect(node, RETRY_MS);
      });
    };
    timers.set(
      node,
      core.clock.after(inMs, () => void lose()),
    );
  };

  return {
    connected(node) {
      cancel(node);
      lastCameMs = core.clock.monotonicMs();
      core.absences.ended(node);
      sessions.set(node, (sessions.get(node) ?? 0) + 1);
      return () => {
        sessions.set(node, (sessions.get(node) ?? 1) - 1);
        expect(node);
      };
    },
    seen(node) {
      if ((sessions.get(node) ?? 0) === 0) core.absences.ended(node);
      expect(node);
    },
    start() {
      for (const { metadata } of core.view.all('nodes')) expect(metadata.name);
    },
    stop() {
      stopped = true;
      for (const node of [...timers.keys()]) cancel(node);
    },
  };
}

async function markLost(core: Core, name: string): Promise<void> {
  await change(core, [keyOf('nodes', name)], false, (draft, world) => {
    const node = draft.get('nodes', name);
    if (!node || node.status.phase === 'lost') return;
    const lost: Node = {
      ...node,
      metadata: touched(node.metadata, world.now, { spec: false }),
      status: { ...node.status, phase: 'lost' },
    };
    draft.put(keyOf('nodes', name), lost);
    for (const instance of core.view.instancesOn(name)) {
      if (instance.status.phase === 'lost') continue;
      const status: Instance['status'] = {
        ...instance.status,
        phase: 'lost',
        reason: `the node ${name} does not answer`,
      };
      const metadata = touched(instance.metadata, world.now, { spec: false });
      draft.put(keyOf('instances', metadata.project!, metadata.name), { ...instance, metadata, status });
    }
    const message = `node ${name} does not answer any more`;
    draft.event({ type: 'warning', reason: 'Lost', message, about: { kind: 'Node', name } });
  });
}
