/**
 * Leases for all engines: which of them live, and a timer for each. What a lease holds is deleted by the engine, in one
 * transaction with the lease itself. A lease is dead from the moment in which its timer fires, deleted or not.
 */
import { newId, SkerryError } from '@skerry/model';
import type { Lease } from './port.ts';

/** Time and one-shot timers, injectable in tests. */
export interface LeaseClock {
  now(): number;
  /** Calls back after `ms`; returns how to take it back. */
  after(ms: number, callback: () => void): () => void;
}

export const systemLeaseClock: LeaseClock = {
  now: () => Date.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Where the deletion fails, for want of space, it is tried again. */
const RETRY_MS = 1000;
/** A longer timer of Node's fires at once (nodejs.org/api/timers.html). */
const LONGEST_MS = 2 ** 31 - 1;

/** How an engine keeps leases; both resolve when durable. */
export interface LeaseKeeper {
  add(id: string, ttlMs: number): Promise<unknown>;
  /** Deletes the lease and every key that names it at that moment. */
  release(id: string): Promise<unknown>;
}

export interface LeaseBook {
  /** Errors: internal (`ttlMs`), store_full. */
  grant(ttlMs: number): Promise<Lease>;
  /** Errors: conflict. */
  requireLive(id: string): void;
  /** Takes up a lease found in the engine's data after a restart: it gets its whole time again. */
  adopt(id: string, ttlMs: number): void;
  close(): void;
}

export function createLeaseBook(clock: LeaseClock, keeper: LeaseKeeper): LeaseBook {
  const live = new Set<string>();
  const timers = new Map<string, () => void>();
  let closed = false;

  const arm = (id: string, ms: number) => {
    timers.get(id)?.();
    if (!closed)
      timers.set(
        id,
        clock.after(ms, () => void end(id).catch(() => undefined)),
      );
  };
  const end = async (id: string) => {
    live.delete(id);
    timers.get(id)?.();
    timers.delete(id);
    if (closed) return;
    try {
      await keeper.release(id);
    } catch (error) {
      arm(id, RETRY_MS);
      throw error;
    }
  };
  const adopt = (id: string, ttlMs: number) => {
    live.add(id);
    arm(id, ttlMs);
  };
  const requireLive = (id: string) => {
    if (!live.has(id)) throw new SkerryError('conflict', `the lease ${id} has ended; take a new one`);
  };

  return {
    async grant(ttlMs) {
      if (!(ttlMs >= 1 && ttlMs <= LONGEST_MS))
        throw new SkerryError('internal', `a lease of ${ttlMs} ms: from 1 to ${LONGEST_MS} it may be`);
      const id: string = newId<'lease'>(clock.now());
      await keeper.add(id, ttlMs);
      adopt(id, ttlMs);
      return {
        id,
        async keepAlive() {
          requireLive(id);
          arm(id, ttlMs);
        },
        revoke: () => end(id),
      };
    },
    requireLive,
    adopt,
    close() {
      closed = true;
      for (const cancel of timers.values()) cancel();
      timers.clear();
      live.clear();
    },
  };
}
