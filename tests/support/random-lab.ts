/** Labs drawn by chance: a network of two to four sites with a node each, guests whose place is given and guests whose place is not. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './program.ts';

export interface DrawnLab {
  readonly text: string;
  /** Node `n0` stands at site `s0`, where access point `t0` stands too; and so on. */
  readonly sites: number;
  readonly controllerSite: number;
  readonly links: readonly { readonly name: string; readonly between: readonly [number, number] }[];
  readonly clients: readonly string[];
}

const document = (kind: string, name: string, spec: object) => ({
  ...{ apiVersion: 'skerry/v1', kind, metadata: { name } },
  spec,
});

/** `mark`: what the guest has in its environment, to be found by on the host. */
export const guest = (mark: string, name: string, spec: object = {}) => {
  const { placement, env, ...rest } = spec as { placement?: object; env?: object };
  return document('Workload', name, {
    ...{ runtime: 'container', image: 'hello:1', stopGrace: '100ms' },
    ...{ resources: { cpus: 0.1, memory: '16MiB' }, ports: [{ name: 'http', port: 8080 }] },
    health: { http: { port: 8080, path: '/healthz' }, interval: '1s' },
    env: { GREETING: '0', MARK: `${mark}/${name}`, ...env },
    placement: { replaceAfter: '5s', ...placement },
    ...rest,
  });
};

/** `chance`: numbers in [0, 1). */
export function drawLab(chance: () => number, name: string, mark: string): DrawnLab {
  const below = (most: number) => Math.floor(chance() * most);
  const sites = 2 + below(3);
  const controllerSite = below(sites);
  const numbers = Array.from({ length: sites }, (_, index) => index);
  const between: [number, number][] = numbers.slice(1).map((to) => [below(to), to]);
  for (const to of numbers)
    for (const from of numbers.slice(0, to))
      if (chance() < 0.3 && !between.some(([a, b]) => a === from && b === to)) between.push([from, to]);
  const links = between.map((ends) => ({ name: `l${ends.join('-')}`, between: ends }));
  const clients = ['c0', 'c1'];
  const pinned = (number: number) =>
    guest(mark, `at${number}`, { placement: { nodeSelector: { node: `n${number}` }, replaceAfter: '1h' } });
  const types = ['router', 'radio-tower', 'small-cell', 'wifi'];
  const documents = [
    document('Lab', name, {
      controller: { site: `s${controllerSite}`, lostAfter: '2s' },
      nodes: numbers.map((number) => ({ name: `n${number}`, site: `s${number}` })),
      images: [
        { name: 'hello:1', file: join(ROOT, 'guests/hello/build/hello.tar') },
        { name: 'thermo', function: join(ROOT, 'guests/pebble/functions/thermo.ts') },
      ],
    }),
    ...numbers.map((number) => document('Site', `s${number}`, {})),
    ...numbers.map((number) =>
      document('AccessPoint', `t${number}`, { type: types[below(types.length)], site: `s${number}` }),
    ),
    ...links.map((link) =>
      document('Link', link.name, {
        between: link.between.map((number) => `s${number}`),
        latency: `${1 + below(12)}ms`,
        bandwidth: '100Mbit',
      }),
    ),
    ...clients.map((client) => document('Client', client, { attachedTo: `t${below(sites)}` })),
    ...numbers.map(pinned),
    guest(mark, 'one', { singleInstance: true, placement: { replaceAfter: '9s' } }),
    guest(mark, 'many', { replicas: 2 }),
    document('Workload', 'fn', {
      ...{ runtime: 'unikernel', image: 'thermo', resources: { cpus: 0.25, memory: '16MiB' } },
      ports: [{ name: 'http', port: 8080 }],
      health: { http: { port: 8080, path: '/healthz' }, interval: '1s' },
      placement: { replaceAfter: '5s' },
    }),
  ];
  return {
    text: documents.map((one) => JSON.stringify(one)).join('\n---\n'),
    ...{ sites, controllerSite, links, clients },
  };
}

/** Sites that packets reach from this one, where these links carry nothing. */
export function sitesFrom(lab: DrawnLab, from: number, cut: ReadonlySet<string>): Set<number> {
  const seen = new Set([from]);
  for (const site of seen)
    for (const { name, between } of lab.links)
      if (!cut.has(name) && between.includes(site)) seen.add(between[0] === site ? between[1] : between[0]);
  return seen;
}

/** Containers with this mark that really run on this machine: their first processes by the name of the workload. */
export function guestsMarked(mark: string): Map<string, number[]> {
  const byName = new Map<string, Map<string, number>>();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'latin1');
      const at = environment.indexOf(`MARK=${mark}/`);
      if (at < 0) continue;
      const name = environment.slice(at + `MARK=${mark}/`.length).split('\0', 1)[0]!;
      const space = readlinkSync(`/proc/${pid}/ns/pid`);
      const spaces = byName.get(name) ?? new Map<string, number>();
      byName.set(
        name,
        spaces.set(space, Math.min(spaces.get(space) ?? Number.POSITIVE_INFINITY, Number(pid))),
      );
    } catch {
      // it has ended
    }
  }
  return new Map([...byName].map(([name, spaces]) => [name, [...spaces.values()].sort((a, b) => a - b)]));
}
