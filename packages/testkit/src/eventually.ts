/** Waits on a level, bounded: looks again and again until `look` neither throws nor gives undefined or false. */
import { setTimeout as delay } from 'node:timers/promises';

export interface EventuallyOptions {
  /** Generous: a loaded machine is slow, a broken promise is for ever. Default 30 s. */
  readonly withinMs?: number;
  readonly everyMs?: number;
}

export async function eventually<T>(
  what: string,
  look: () => T | Promise<T>,
  options: EventuallyOptions = {},
): Promise<Exclude<T, undefined | false>> {
  const { withinMs = 30_000, everyMs = 20 } = options;
  const until = performance.now() + withinMs;
  let last: unknown;
  do {
    try {
      const seen = await look();
      if (seen !== undefined && seen !== false) return seen as Exclude<T, undefined | false>;
      last = seen;
    } catch (error) {
      last = error;
    }
    await delay(everyMs);
  } while (performance.now() < until);
  throw new Error(
    `${what}: not within ${withinMs} ms; last seen: ${last instanceof Error ? last.message : String(last)}`,
  );
}
