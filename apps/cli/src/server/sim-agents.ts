/**
 * `skerry agent --sim N`: simulated nodes for a controller that runs, in this one process, for tests of scale and
 * development. They join with tokens like machines do; nothing is written, and with the process they are gone.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { startSimCrowd } from '@skerry/app-agent/sim';
import type { Client } from '@skerry/contract';
import { createLogger } from './log.ts';

export interface SimAgentsOptions {
  readonly count: number;
  readonly firstNumber: number;
  readonly prefix: string;
  readonly onJoined: (count: number) => void;
}

/** Longer than the joining of thousands takes on a slow machine. */
const TOKEN_VALID_S = 3600;
const END_LIMIT_MS = 5000;

/** Serves until SIGTERM or SIGINT. `whenJoined` hears once that all have come. Errors: those of joining. */
export async function runSimAgents(
  client: Client,
  options: SimAgentsOptions,
  whenJoined: () => void,
): Promise<void> {
  const ending = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => ending.abort());
  const { signal } = ending;
  // One line for each of thousands tells nobody anything.
  const logger = createLogger(2);
  logger.level = process.env.SKERRY_LOG ?? 'warn';
  const crowd = await startSimCrowd({
    ...options,
    ...{ logger, signal },
    token: async (node) => (await client.node.token({ body: { validSeconds: TOKEN_VALID_S, node } })).token,
  });
  whenJoined();
  if (!signal.aborted)
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  await Promise.race([crowd.stop(), pause(END_LIMIT_MS)]);
}
