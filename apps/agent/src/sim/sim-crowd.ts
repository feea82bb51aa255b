/**
 * Simulated nodes by the thousand in one process. They come a few at a time, as machines do that are switched on, and each
 * has a session of its own; what they have in common is the process only.
 */
import { setMaxListeners } from 'node:events';
import { Gate } from '@skerry/reconcile';
import type { Logger } from '../ports.ts';
import { type SimNode, startSimNode } from './sim-node.ts';

/** Each joins with two handshakes and a signature of the controller: more at once would only wait for each other. */
const JOIN_AT_ONCE = 16;
/**
 * After a restart of the controller all would dial at once. Machines have a processor each for their handshake; here thousands
 * share one, and all of them would take longer than any has time for.
 */
const DIAL_AT_ONCE = 32;

export interface SimCrowdOptions {
  readonly count: number;
  /** Of the first; for a second crowd on the same controller. Default 0. */
  readonly firstNumber?: number;
  /** Default `sim`: the nodes are sim-0, sim-1 … */
  readonly prefix?: string;
  /** Makes a token for a node of this name. */
  readonly token: (name: string) => Promise<string>;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly onJoined?: (count: number) => void;
}

export interface SimCrowd {
  readonly nodes: readonly SimNode[];
  stop(): Promise<void>;
}

/** Resolves when all have joined. Errors: the first that one of them met; all that came are stopped then. */
export async function startSimCrowd(options: SimCrowdOptions): Promise<SimCrowd> {
  const { count, firstNumber = 0, prefix = 'sim', token, logger, signal, onJoined } = options;
  const nodes: SimNode[] = [];
  setMaxListeners(0, signal); // each that waits for its turn listens
  const dials = new Gate(DIAL_AT_ONCE);
  const inTurn = (dial: () => Promise<void>) => dials.run(dial, signal);
  const stop = async () => void (await Promise.all(nodes.splice(0).map((node) => node.stop())));
  let next = firstNumber;
  const joinOneByOne = async () => {
    while (next < firstNumber + count) {
      signal.throwIfAborted();
      const number = next++;
      const name = `${prefix}-${number}`;
      nodes.push(await startSimNode({ token: await token(name), name, number, logger, inTurn }));
      onJoined?.(nodes.length);
    }
  };
  const lanes = await Promise.allSettled(Array.from({ length: JOIN_AT_ONCE }, joinOneByOne));
  const failed = lanes.find((lane) => lane.status === 'rejected');
  if (failed) {
    await stop();
    throw failed.reason;
  }
  return { nodes, stop };
}
