import type { Sighting } from '@skerry/contract';
import { eventually } from '@skerry/testkit';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { document, type Edge, startEdge } from '../testing/edge.ts';
import type { Harness } from '../testing/harness.ts';
import { Damping } from './damping.ts';

describe('clients that nodes see', () => {
  let edge: Edge;
  let harness: Harness;
  beforeEach(async () => {
    edge = await startEdge(
      ['west', 'east'],
      [
        document('AccessPoint', 'tower-1', '{ type: radio-tower, site: west }'),
        document('AccessPoint', 'tower-2', '{ type: radio-tower, site: east }'),
        document('Client', 'phone', '{ attachedTo: tower-1, address: 192.0.2.7 }'),
        document('Client', 'tablet', '{ address: "2001:DB8:0:0::7" }'),
      ],
    );
    ({ harness } = edge);
  });
  afterEach(async () => expect(await edge.close()).toEqual([]));
  const sighted = (node: string, ...seen: Sighting[]) => harness.controller.link.sighted(node, seen);
  const phoneAt = (accessPoint: string, ageMs = 0) => ({ address: '192.0.2.7', accessPoint, ageMs });
  const whereIs = async (name: string) => (await harness.client.client.show({ name })).spec.attachedTo;
  const events = async (name: string) => (await harness.client.event.list({ name })).items;

  test('a client that is seen at another access point is handed over, as an event that names who saw it', async () => {
    await sighted('east', phoneAt('tower-2'));
    expect(await whereIs('phone')).toBe('tower-2');
    expect((await events('phone')).at(-1)).toMatchObject({
      reason: 'Handover',
      message: 'client phone moved from tower-1 to tower-2, seen by node east',
    });
  });

  test('one that was away comes, whatever way its address is written', async () => {
    await sighted('west', { address: '2001:db8::7', accessPoint: 'tower-1', ageMs: 0 });
    expect(await whereIs('tablet')).toBe('tower-1');
  });

  test('one that has two addresses is known by both, and nobody else may have either', async () => {
    const both = document(
      'Client',
      'phone',
      '{ attachedTo: tower-1, address: 192.0.2.7, address6: "2001:DB8::8" }',
    );
    await harness.client.apply({ body: both });
    await sighted('east', { address: '2001:db8::8', accessPoint: 'tower-2', ageMs: 0 });
    expect(await whereIs('phone')).toBe('tower-2');
    for (const spec of [
      '{ address6: "2001:db8::7" }',
      '{ address: "2001:db8:0::8" }',
      '{ address6: "2001:db8::8" }',
    ])
      await expect(harness.client.apply({ body: document('Client', 'twin', spec) })).rejects.toMatchObject({
        code: 'already_exists',
      });
  });

  test('an address of nobody, and one that is where it was, change nothing that is stored', async () => {
    const before = (await harness.client.status()).revision;
    await sighted('west', phoneAt('tower-1'), {
      ...{ address: '203.0.113.9', accessPoint: 'tower-1', ageMs: 0 },
    });
    expect((await harness.client.status()).revision).toBe(before);
  });

  test('what was said after it was seen counts', async () => {
    await harness.client.client.patch({ name: 'phone', body: { spec: { attachedTo: 'tower-1' } } });
    await sighted('east', phoneAt('tower-2', 60_000));
    expect(await whereIs('phone')).toBe('tower-1');
  });

  test('a node is not believed for access points of other sites, which an event tells once', async () => {
    for (let time = 0; time < 3; time++) await sighted('east', phoneAt('tower-1'), phoneAt('nowhere'));
    await sighted('west', phoneAt('tower-2'));
    expect(await whereIs('phone')).toBe('tower-1');
    await eventually('the events are there', async () => {
      const doubts = (await events('east')).filter(({ reason }) => reason === 'NotBelieved');
      expect(doubts.map(({ message }) => message)).toEqual([
        expect.stringMatching(/phone was seen at tower-1, which does not stand at its site east/),
        expect.stringMatching(/nowhere/),
      ]);
      return true;
    });
  });

  test('a client that two nodes see in turns is moved a few times, and ends where it was seen last', async () => {
    for (let turn = 0; turn < 100; turn++) {
      await sighted('east', phoneAt('tower-2'));
      await sighted('west', phoneAt('tower-1'));
    }
    await eventually('it is where it was seen last', async () => (await whereIs('phone')) === 'tower-1');
    const { status } = await harness.client.client.show({ name: 'phone' });
    expect(status.handovers).toBeLessThanOrEqual(6);
  });

  test.each([
    [{ address: 'rm -rf', accessPoint: 'tower-1', ageMs: 0 }],
    [{ address: '192.0.2.7', accessPoint: 'x'.repeat(64), ageMs: 0 }],
    [{ address: '192.0.2.7', accessPoint: 'tower-1', ageMs: -1 }],
  ])('what an agent may not say is refused: %j', async (seen) => {
    const { checkedLink } = await import('../nodes/report-check.ts');
    const link = checkedLink(harness.controller.link);
    await expect(link.sighted('west', [seen])).rejects.toMatchObject({ code: 'request_invalid' });
  });
});

describe('damping', () => {
  /** Moves whenever it may, at these distances. */
  const movesOf = (gaps: readonly number[]) => {
    const damping = new Damping();
    let [nowMs, moves] = [0, 0];
    for (const gap of gaps) {
      nowMs += gap;
      expect(damping.waitMs(nowMs)).toBeLessThanOrEqual(60_000);
      if (damping.waitMs(nowMs) > 0) continue;
      damping.moved(nowMs);
      moves++;
    }
    return { moves, nowMs };
  };

  test('moves a client that flaps a few times, then once a minute, and never locks it out', () => {
    const gaps = fc.array(fc.integer({ min: 1, max: 9000 }), { minLength: 1, maxLength: 2000 });
    fc.assert(
      fc.property(gaps, (all) => {
        const { moves, nowMs } = movesOf(all);
        expect(moves).toBeLessThanOrEqual(8 + nowMs / 60_000);
      }),
    );
  });

  test('whatever a client does, it is moved each ten seconds at most, beside the first few times', () => {
    const gaps = fc.array(fc.integer({ min: 1, max: 120_000 }), { minLength: 1, maxLength: 2000 });
    fc.assert(
      fc.property(gaps, (all) => {
        const { moves, nowMs } = movesOf(all);
        expect(moves).toBeLessThanOrEqual(8 + nowMs / 10_000 + nowMs / 60_000);
      }),
    );
  });

  test('trusts a client that has been calm', () => {
    const damping = new Damping();
    for (const atMs of [0, 1000, 3000, 7000]) {
      expect(damping.waitMs(atMs)).toBe(0);
      damping.moved(atMs);
    }
    expect(damping.waitMs(7001)).toBe(7999);
    expect(damping.isCalm(31_000)).toBe(false);
    expect(damping.isCalm(85_000)).toBe(true);
    damping.moved(85_000);
    expect(damping.waitMs(85_000)).toBe(1000);
  });
});
