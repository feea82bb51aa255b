import type { Client } from '@skerry/model';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formerOf, MOST_FORMER, movedClients } from './moved.ts';

const client = (attachedTo: string | undefined, former: string[], address6?: string) =>
  ({
    spec: { address: '192.0.2.7', ...(attachedTo && { attachedTo }), ...(address6 && { address6 }) },
    status: { handovers: former.length, former },
  }) as Client;
/** Access point `a1` is at site `a`, and so on; nodes of a site are named after it. */
const siteOf = (accessPoint: string) => accessPoint[0];
const nodes: Record<string, string[]> = { a: ['a-x'], b: ['b-x', 'b-y'], c: ['c-x'], d: [] };
const trails = (one: Client) => Object.fromEntries(movedClients([one], siteOf, (site) => nodes[site] ?? []));

test('a client is remembered by where it came through, the latest first, each once, and a few of them', () => {
  const place = fc.constantFrom('a1', 'a2', 'b1', 'c1', undefined);
  fc.assert(
    fc.property(fc.array(place, { maxLength: 30 }), (walk) => {
      let former: string[] = [];
      for (const [at, to] of walk.entries()) former = formerOf(former, walk[at - 1], to);
      const here = walk.at(-1);
      const before = walk
        .slice(0, -1)
        .reverse()
        .filter((name) => name !== undefined && name !== here);
      const whole = [...new Set(before)];
      expect(former).toEqual(whole.slice(0, former.length));
      expect(former.length).toBeLessThanOrEqual(MOST_FORMER);
      expect(former.length).toBeGreaterThanOrEqual(Math.min(whole.length, MOST_FORMER - 1));
    }),
  );
});

test('every node of the site sends on to the node before, that to the one before it, and the last to nobody', () => {
  const address = '192.0.2.7';
  expect(trails(client('b1', ['a1', 'c1']))).toEqual({
    'b-x': [{ address, next: 'a-x' }],
    'b-y': [{ address, next: 'a-x' }],
    'a-x': [{ address, next: 'c-x' }],
    'c-x': [{ address }],
  });
  // of two nodes at a site nobody knows which one it was
  expect(trails(client('a1', ['b1'], '2001:db8::7'))['b-x']).toEqual([
    { address, next: 'b-y' },
    { address: '2001:db8::7', next: 'b-y' },
  ]);
});

test('nothing is told of one that stayed at its site, that is away, or that came from where no node is', () => {
  for (const one of [client('a1', []), client('a1', ['a2']), client(undefined, ['b1']), client('a1', ['d1'])])
    expect(trails(one)).toEqual({});
});

test('packets never go in a circle, however a client went to and fro', () => {
  const places = fc.array(fc.constantFrom('a1', 'a2', 'b1', 'b2', 'c1', 'd1'), {
    minLength: 1,
    maxLength: 20,
  });
  fc.assert(
    fc.property(places, (walk) => {
      let former: string[] = [];
      for (const [at, to] of walk.entries()) former = formerOf(former, walk[at - 1], to);
      const told = trails(client(walk.at(-1), former));
      for (const start of Object.keys(told)) {
        const seen = new Set<string>();
        for (let node: string | undefined = start; node !== undefined; node = told[node]?.[0]?.next) {
          expect(seen.has(node)).toBe(false);
          seen.add(node);
        }
      }
    }),
  );
});
