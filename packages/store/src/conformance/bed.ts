/** What the parts of the conformance suite share: fresh stores, a clock moved by hand, ends of watches. */
import { SkerryError } from '@skerry/model';
import { afterEach } from 'vitest';
import type { WindowLimits } from '../change-window.ts';
import type { LeaseClock } from '../leases.ts';
import type { Store, TxnResult, WatchBatch } from '../port.ts';

export interface EngineOptions extends WindowLimits {
  readonly leaseClock?: LeaseClock;
  readonly watchLimitEvents?: number;
}
export type OpenEngine = (options?: EngineOptions) => Store | Promise<Store>;

/** Opens stores for the tests of the calling `describe`, and closes them after each. */
export function storesOf(open: OpenEngine): (options?: EngineOptions) => Promise<Store> {
  const opened: Store[] = [];
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close();
  });
  return async (options) => {
    const store = await open(options);
    opened.push(store);
    return store;
  };
}

/** A clock that a test moves by hand. */
export function createHandClock(): LeaseClock & { advance(ms: number): void; readonly timers: number } {
  let now = 0;
  let timers: { at: number; callback: () => void }[] = [];
  return {
    now: () => now,
    after(ms, callback) {
      const timer = { at: now + ms, callback };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    advance(ms) {
      now += ms;
      const due = timers.filter((timer) => timer.at <= now);
      timers = timers.filter((timer) => timer.at > now);
      for (const timer of due) timer.callback();
    },
    get timers() {
      return timers.length;
    },
  };
}

export async function take(batches: AsyncIterable<WatchBatch>, count: number): Promise<WatchBatch[]> {
  const taken: WatchBatch[] = [];
  for await (const batch of batches) {
    taken.push(batch);
    if (taken.length === count) break;
  }
  return taken;
}

export const codeOf = async (work: () => Promise<unknown>): Promise<string> => {
  try {
    await work();
    return 'nothing thrown';
  } catch (error) {
    return error instanceof SkerryError ? error.code : String(error);
  }
};

export const put = (store: Store, key: string, value = '1'): Promise<TxnResult> =>
  store.txn([], [{ put: key, value }]);

export const never = (): AbortSignal => new AbortController().signal;
