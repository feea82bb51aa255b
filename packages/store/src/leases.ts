/** Leases for all engines: one timer for the next to expire; what expires is deleted by the engine. */
import { newId } from '@skerry/model';
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

export interface LeaseBook {
  grant(ttlMs: number): Lease;
  isLive(id: string): boolean;
  /** Takes up leases found in the engine's data after a restart: each gets its whole time again. */
  adopt(id: string, ttlMs: number): void;
  close(): void;
}

export function createLeaseBook(clock: LeaseClock, expire: (id: string) => Promise<void>): LeaseBook {
  const live = new Map<string, { readonly ttlMs: number; cancel: () => void }>();
  const arm = (id: string, ttlMs: number) => {
    live.get(id)?.cancel();
    live.set(id, { ttlMs, cancel: clock.after(ttlMs, () => void end(id)) });
  };
  const end = async (id: string) => {
    live.get(id)?.cancel();
    if (live.delete(id)) await expire(id);
  };
  return {
    grant(ttlMs) {
      const id: string = newId<'lease'>(clock.now());
      arm(id, ttlMs);
      return {
        id,
        async keepAlive() {
          if (live.has(id)) arm(id, ttlMs);
        },
        revoke: () => end(id),
      };
    },
    isLive: (id) => live.has(id),
    adopt: arm,
    close() {
      for (const { cancel } of live.values()) cancel();
      live.clear();
    },
  };
}
