// The network between nodes, kept up change by change, against one that is made from the same view at once.
import type { Store } from '@skerry/store';
import { createMemoryStore } from '@skerry/store';
import fc from 'fast-check';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { createAccessMap } from '../access/map.ts';
import { systemClock } from '../clock.ts';
import { keyOf } from '../state/keys.ts';
import { createView } from '../state/view.ts';
import { createServiceNetwork } from './network.ts';

const small = (max: number) => fc.integer({ min: 0, max });
const maybe = <T>(one: fc.Arbitrary<T>) => fc.option(one, { nil: undefined });
const NODES = 5;

type Put = readonly [key: string, object: object | undefined];
const metadata = (name: string, project?: string) => ({
  name,
  project,
  uid: `uid-${project}-${name}`,
  labels: {},
});

const node = fc
  .record({
    at: small(NODES - 1),
    site: maybe(small(1)),
    isReached: fc.boolean(),
    is6: fc.boolean(),
    gone: fc.boolean(),
  })
  .map(({ at, site, isReached, is6, gone }): Put => {
    const status = {
      phase: 'ready',
      subnet: `10.90.${at}.0/24`,
      ...(isReached && { underlay: `192.0.2.${at + 1}` }),
      ...(is6 && { subnet6: `fd00:${at}::/64` }),
    };
    const spec = site === undefined ? {} : { site: `s${site}` };
    return [keyOf('nodes', `n${at}`), gone ? undefined : { metadata: metadata(`n${at}`), spec, status }];
  });
const workload = fc
  .record({
    ...{ at: small(2), project: small(1), hasPorts: fc.boolean(), life: small(1), gone: fc.boolean() },
    hears: maybe(fc.constantFrom({}, { clients: { kind: 'phone' } })),
  })
  .map(({ at, project, hasPorts, life, gone, hears }): Put => {
    const about = { ...metadata(`w${at}`, `p${project}`), uid: `w${at}${project}${life}` };
    const spec = {
      ...{ runtime: 'container', ...(hasPorts && { ports: [{ name: 'http', port: 80 }] }) },
      ...(hears && { onHandover: { port: 80 }, placement: { near: hears } }),
    };
    const object = { metadata: about, spec, status: { serviceAddress: `198.18.${project}.${at + 1}` } };
    return [keyOf('workloads', `p${project}`, `w${at}`), gone ? undefined : object];
  });
const instance = fc
  .record({
    ...{ at: small(11), project: small(1), node: maybe(small(NODES - 1)), gone: fc.boolean() },
    ...{
      phase: fc.constantFrom('running', 'stopping', 'starting', 'lost'),
      isUnwell: fc.boolean(),
      hasPorts: fc.boolean(),
    },
  })
  .map(({ at, project, node: on, gone, phase, isUnwell, hasPorts }): Put => {
    const name = `w${at % 3}-${at}`;
    const spec = {
      ...{
        workload: `w${at % 3}`,
        ordinal: at,
        template: { runtime: 'container', ...(hasPorts && { ports: [{}] }) },
      },
      ...(on !== undefined && {
        node: `n${on}`,
        network: { address: `10.90.${on}.${at + 2}`, address6: `fd00::${at}` },
      }),
    };
    const status = { phase, health: isUnwell ? 'unhealthy' : 'healthy' };
    const object = { metadata: metadata(name, `p${project}`), spec, status };
    return [keyOf('instances', `p${project}`, name), gone ? undefined : object];
  });
const place = fc.oneof(
  fc.record({ ms: small(3), gone: fc.boolean() }).map(({ ms, gone }): Put => {
    const spec = { between: ['s0', 's1'], latency: `${ms + 1}ms` };
    return [keyOf('links', 'l'), gone ? undefined : { metadata: metadata('l'), kind: 'Link', spec }];
  }),
  fc
    .record({ at: small(1), site: small(1) })
    .map(
      ({ at, site }): Put => [
        keyOf('access-points', `a${at}`),
        { metadata: metadata(`a${at}`), kind: 'AccessPoint', spec: { type: 'wifi', site: `s${site}` } },
      ],
    ),
  fc
    .record({
      at: small(2),
      to: maybe(small(1)),
      from: maybe(small(1)),
      day: small(9),
      isPhone: fc.boolean(),
    })
    .map(({ at, to, from, day, isPhone }): Put => {
      const spec = { address: `203.0.113.${at}`, ...(to !== undefined && { attachedTo: `a${to}` }) };
      const status = {
        ...{ handovers: day, attachedAt: `2026-01-0${day}` },
        ...(from !== undefined && { former: [`a${from}`] }),
      };
      const about = { ...metadata(`c${at}`), labels: isPhone ? { kind: 'phone' } : {} };
      return [keyOf('clients', `c${at}`), { metadata: about, kind: 'Client', spec, status }];
    }),
);
/** Many instances and their health, some workloads, few nodes and places: as it is. */
const put = fc.oneof({ arbitrary: instance, weight: 6 }, { arbitrary: workload, weight: 2 }, node, place);

async function write(store: Store, puts: readonly Put[]): Promise<number> {
  const ops = [...new Map(puts)].map(([key, object]) =>
    object ? { put: key, value: JSON.stringify(object) } : { delete: key },
  );
  return (await store.txn([], ops)).revision;
}

test('what is kept up change by change is what would be made from the whole at once, whenever it is asked for', async () => {
  const begin: Put[] = [0, 1].map((at) => [
    keyOf('sites', `s${at}`),
    { metadata: metadata(`s${at}`), kind: 'Site', spec: {} },
  ]);
  for (let at = 0; at < NODES; at++) {
    const status = { phase: 'ready', subnet: `10.90.${at}.0/24`, underlay: `192.0.2.${at + 1}` };
    begin.push([
      keyOf('nodes', `n${at}`),
      { metadata: metadata(`n${at}`), spec: { site: `s${at % 2}` }, status },
    ]);
  }
  const steps = fc.array(
    fc.record({ puts: fc.array(put, { minLength: 1, maxLength: 6 }), asks: fc.boolean() }),
    { maxLength: 25 },
  );
  let told = 0;
  let heard = 0;
  await fc.assert(
    fc.asyncProperty(steps, async (all) => {
      const store = createMemoryStore();
      const view = createView(store, pino({ level: 'silent' }));
      const topology = createAccessMap(view);
      const kept = createServiceNetwork(view, topology, systemClock);
      await view.start();
      try {
        for (const { puts, asks } of [{ puts: begin, asks: true }, ...all, { puts: begin, asks: true }]) {
          await view.reached(await write(store, puts));
          if (!asks) continue;
          const fresh = createServiceNetwork(view, topology, systemClock);
          for (let at = 0; at < NODES; at++) {
            expect(kept.of(`n${at}`)).toEqual(fresh.of(`n${at}`));
            told += kept.of(`n${at}`).services.length;
            heard += kept.of(`n${at}`).handovers?.length ?? 0;
          }
          fresh.stop();
        }
      } finally {
        kept.stop();
        await view.stop();
        await store.close();
      }
    }),
    { numRuns: 60 },
  );
  expect(told, 'services were told of').toBeGreaterThan(0);
  expect(heard, 'handovers were told of').toBeGreaterThan(0);
});
