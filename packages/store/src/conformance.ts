/** What every engine promises. `open` gives a fresh store; for tests only. */
import { describe } from 'vitest';
import { type OpenEngine, storesOf } from './conformance/bed.ts';
import { leaseConformance } from './conformance/leases.ts';
import { valuesConformance } from './conformance/values.ts';
import { watchConformance } from './conformance/watch.ts';

export type { EngineOptions, OpenEngine } from './conformance/bed.ts';

export function storeConformance(name: string, open: OpenEngine): void {
  describe(`store engine ${name}`, () => {
    const fresh = storesOf(open);
    valuesConformance(fresh);
    watchConformance(fresh);
    leaseConformance(fresh);
  });
}
