/** For an agent whose guests end with their machine: tests, and guests that are none. */
import type { LeaseHost } from './port.ts';

export const createLeaseMemory = (holder: string, nowMs: () => number): LeaseHost => ({
  holder,
  nowMs,
  load: () => new Map(),
  save: () => undefined,
  remove: () => undefined,
  guard: async () => undefined,
});
