import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { storeConformance } from './conformance.ts';
import { createMemoryStore } from './memory/memory-store.ts';
import type { Op, Store } from './port.ts';
import { openSqliteStore } from './sqlite/sqlite-store.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-store-'));
let next = 0;
const path = () => join(folder, `${next++}.db`);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

storeConformance('memory', (options) => createMemoryStore(options));
storeConformance('sqlite', (options) => openSqliteStore({ path: path(), ...options }));

const key = fc.constantFrom('/a', '/b', '/b/c', '/d');
const op: fc.Arbitrary<Op> = fc.oneof(
  fc.record({ put: key, value: fc.string({ maxLength: 4 }) }),
  fc.record({ delete: key }),
  fc.record({ deletePrefix: key }),
);
const txn = fc.record({
  compare: fc.array(
    fc.oneof(fc.record({ key, modRevision: fc.nat(6) }), fc.record({ key, exists: fc.boolean() })),
    { maxLength: 2 },
  ),
  wanted: fc.array(op, { maxLength: 3 }),
  orElse: fc.array(op, { maxLength: 2 }),
});

test('both engines give the same results, entries and changes for any sequence of transactions', async () => {
  const signal = new AbortController().signal;
  const history = async (store: Store) => {
    const batches = [];
    const revision = await store.revision();
    if (revision === 0) return [];
    for await (const batch of store.watch('', { from: 0, signal })) {
      batches.push(batch);
      if (batch.revision === revision) break;
    }
    return batches;
  };
  await fc.assert(
    fc.asyncProperty(fc.array(txn, { maxLength: 20 }), async (txns) => {
      const stores = [createMemoryStore(), openSqliteStore({ path: path() })];
      try {
        const results = await Promise.all(
          stores.map(async (store) => ({
            txns: await Promise.all(txns.map((one) => store.txn(one.compare, one.wanted, one.orElse))),
            list: await store.list(''),
            history: await history(store),
          })),
        );
        expect(results[1]).toEqual(results[0]);
      } finally {
        for (const store of stores) await store.close();
      }
    }),
    { numRuns: 60 },
  );
});
