import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { codeOf, never, take } from './conformance/bed.ts';
import { storeConformance } from './conformance.ts';
import { compareKeys } from './key-order.ts';
import { createMemoryStore } from './memory/memory-store.ts';
import type { Op, Store } from './port.ts';
import { openSqliteStore } from './sqlite/sqlite-store.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-store-'));
let next = 0;
const path = () => join(folder, `${next++}.db`);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

storeConformance('memory', (options) => createMemoryStore(options));
storeConformance('sqlite', (options) => openSqliteStore({ path: path(), ...options }));

/** Any text that is well-formed, as keys and values are. */
const text = fc.string({ unit: 'binary', maxLength: 4 });
const key = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom('/a', '/b', '/b/c', '/b/\u{10000}', '/b/\u{ffee}') },
  { weight: 1, arbitrary: text.map((rest) => `/b${rest}`) },
);
const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ put: key, value: text }) },
  { weight: 1, arbitrary: fc.record({ delete: key }) },
  { weight: 1, arbitrary: fc.record({ deletePrefix: key }) },
);
const txn = fc.record({
  compare: fc.array(
    fc.oneof(fc.record({ key, modRevision: fc.nat(6) }), fc.record({ key, exists: fc.boolean() })),
    { maxLength: 2 },
  ),
  wanted: fc.array(op, { maxLength: 3 }),
  orElse: fc.array(op, { maxLength: 2 }),
});

/** All that can be seen of a store. */
async function seen(store: Store, compactTo: number) {
  const revision = await store.revision();
  await store.compact(Math.min(compactTo, revision));
  const pages = [];
  for (let after: string | undefined; ; ) {
    const page = await store.list('/b', { limit: 2, ...(after === undefined ? {} : { after }) });
    pages.push(page);
    if (page.next === undefined) break;
    after = page.next;
  }
  const { logRows, oldestRevision } = store.stats();
  const from = oldestRevision - 1;
  // Nothing more comes, so a history of none is not waited for.
  const history =
    revision === from ? [] : await take(store.watch('', { from, signal: never() }), revision - from);
  return { revision, all: await store.list(''), pages, logRows, oldestRevision, history };
}

test('both engines give the same results, refusals, entries and changes for any sequence of transactions', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(txn, { maxLength: 20 }), fc.nat(12), async (txns, compactTo) => {
      const stores = [createMemoryStore(), openSqliteStore({ path: path() })];
      try {
        const results = await Promise.all(
          stores.map(async (store) => {
            const answers = await Promise.all(
              txns.map(async (one) => {
                let result: unknown;
                const code = await codeOf(async () => {
                  result = await store.txn(one.compare, one.wanted, one.orElse);
                });
                return result ?? code;
              }),
            );
            return { answers, ...(await seen(store, compactTo)) };
          }),
        );
        expect(results[1]).toEqual(results[0]);
      } finally {
        for (const store of stores) await store.close();
      }
    }),
    { numRuns: 60 },
  );
});

test('the order of keys is that of their UTF-8 bytes', () => {
  const long = fc.string({ unit: 'binary', maxLength: 8 });
  fc.assert(
    fc.property(long, long, (a, b) => {
      expect(Math.sign(compareKeys(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
  );
});
