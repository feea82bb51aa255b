/** The sink that is another stream of the project: what comes out of one goes into the other, with the ids that it has. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Item } from '../message.ts';
import { Busy, type Outgoing, type Sink } from '../ports.ts';

const AGAIN_MS = 100;

/** `send`: resolves when it is durable there; rejects with `Busy`, or where there is no such stream. */
export function createStreamSink(
  name: string,
  send: (name: string, items: readonly Item[]) => Promise<void>,
): Sink {
  const itemOf = ({ payload, ...rest }: Outgoing): Item => ({ ...rest, value: payload });
  return {
    kind: 'stream',
    batch: 200,
    async deliver(batch, signal) {
      let left: readonly Item[] = batch.map(itemOf);
      for (;;) {
        const taken = await Promise.all(left.map((item) => isTaken(send(name, [item]))));
        left = left.filter((_, at) => !taken[at]); // it is full: those that it took are not sent again
        if (left.length === 0) return;
        await pause(AGAIN_MS, undefined, { signal });
      }
    },
    close: async () => undefined,
  };
}

async function isTaken(work: Promise<void>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    if (error instanceof Busy) return false;
    throw error;
  }
}
