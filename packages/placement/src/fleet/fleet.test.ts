import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createCountTable } from './count-table.ts';
import { createFleet } from './fleet.ts';
import type { FleetNode } from './node.ts';
import { createRanking } from './ranking.ts';

const GiB = 1024 ** 3;
const node = (name: string, more: Partial<FleetNode> = {}): FleetNode => ({
  name,
  runtimes: { container: { overheadBytes: 0, accelerated: true } },
  cpus: 4,
  memoryBytes: 8 * GiB,
  diskBytes: 100 * GiB,
  ready: true,
  schedulable: true,
  ...more,
});

describe('the fleet', () => {
  it('counts pairs as a plain map does, after any changes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat({ max: 9 }), fc.nat({ max: 40 }), fc.constantFrom(1, -1)), {
          maxLength: 600,
        }),
        (changes) => {
          const table = createCountTable();
          const plain = new Map<string, number>();
          for (const [group, place, by] of changes) {
            const expected = (plain.get(`${group}/${place}`) ?? 0) + by;
            plain.set(`${group}/${place}`, expected);
            expect(table.add(group, place, by)).toBe(expected);
          }
          for (let group = 0; group < 11; group++)
            for (let place = 0; place < 42; place++)
              expect(table.get(group, place)).toBe(plain.get(`${group}/${place}`) ?? 0);
        },
      ),
    );
  });

  it('visits the members from the greatest key down, of equal keys the least number first, also in a visit of a visit', () => {
    fc.assert(
      fc.property(
        fc.array(fc.option(fc.nat({ max: 6 }), { nil: Number.NEGATIVE_INFINITY }), { maxLength: 70 }),
        fc.nat({ max: 6 }),
        (keys, from) => {
          const ranking = createRanking();
          keys.forEach((_, at) => {
            ranking.set(at, 99);
          });
          keys.forEach((key, at) => {
            ranking.set(at, key);
          });
          const expected = keys
            .map((key, at) => ({ key, at }))
            .filter(({ key }) => key >= from)
            .sort((a, b) => b.key - a.key || a.at - b.at)
            .map(({ at }) => at);
          const seen: number[] = [];
          ranking.descend(from, (member) => {
            if (seen.length === 0) ranking.descend(from, () => false);
            seen.push(member);
            return false;
          });
          expect(seen).toEqual(expected);
        },
      ),
    );
  });

  it('has everything free again when all that was taken was given back, and counts nothing more', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            key: fc.nat({ max: 12 }),
            node: fc.nat({ max: 3 }),
            cpus: fc.constantFrom(0.1, 0.25, 1.3),
            give: fc.boolean(),
            moves: fc.boolean(),
          }),
          { maxLength: 80 },
        ),
        (steps) => {
          const fleet = createFleet();
          for (let at = 0; at < 4; at++) fleet.set(node(`n${at}`, { site: `s${at % 2}` }));
          for (const step of steps) {
            if (step.moves) fleet.set(node(`n${step.node}`, { site: `s${step.key % 3}` }));
            else if (step.give) fleet.give(`i${step.key}`);
            else
              fleet.take(`i${step.key}`, {
                node: `n${step.node}`,
                cpus: step.cpus,
                memoryBytes: 1000,
                diskBytes: 3,
                ports: [`tcp/${step.key}`],
                groups: ['web'],
                repels: [{ group: 'db', at: 'site' }],
              });
            const held = Array.from({ length: 13 }, (_, at) => fleet.get(`i${at}`)).filter((row) => row);
            const web = fleet.groups.find('web');
            for (let site = 0; web >= 0 && site < fleet.sites.size; site++)
              expect(fleet.countAtSite(web, site)).toBe(
                held.filter((row) => fleet.columns.site[row!.node] === site).length,
              );
          }
          for (let at = 0; at < 13; at++) fleet.give(`i${at}`);
          const { columns } = fleet;
          for (let at = 0; at < 4; at++) {
            expect([columns.cpuFreeMilli[at], columns.memoryFreeBytes[at], columns.instances[at]]).toEqual([
              4000,
              8 * GiB,
              0,
            ]);
            expect(columns.diskFreeBytes[at]).toBe(100 * GiB);
          }
          expect(fleet.instances).toBe(0);
          expect(fleet.total(fleet.groups.number('web'))).toBe(0);
          expect(fleet.repelledAtSite(fleet.groups.number('db'), 0)).toBe(0);
        },
      ),
    );
  });

  it('ranks only nodes that are ready, take instances, and are there', () => {
    const fleet = createFleet();
    fleet.set(node('a', { site: 's' }));
    fleet.set(node('b', { site: 's', memoryBytes: 16 * GiB }));
    const best = () => {
      const seen: string[] = [];
      fleet.ranking.descend(0, (member) => {
        seen.push(fleet.node(member).name);
        return false;
      });
      return seen.join();
    };
    expect(best()).toBe('b,a');
    fleet.set(node('b', { site: 's', memoryBytes: 16 * GiB, ready: false }));
    expect(best()).toBe('a');
    fleet.set(node('b', { site: 'other', memoryBytes: 16 * GiB }));
    expect([best(), fleet.at(fleet.sites.find('s'))?.nodes.length]).toEqual(['b,a', 1]);
    fleet.remove('a');
    expect([best(), fleet.find('a')]).toEqual(['b', -1]);
    fleet.set(node('a', { site: 's' }));
    expect(best()).toBe('b,a');
  });

  it('leaves its neighbours as they are when a node that was removed gets something back', () => {
    const fleet = createFleet();
    for (const name of ['a', 'b', 'c']) fleet.set(node(name, { site: 's' }));
    fleet.take('i', { node: 'a', cpus: 1, memoryBytes: GiB, diskBytes: 0 });
    fleet.remove('a');
    fleet.give('i');
    const place = fleet.at(fleet.sites.find('s'))!;
    const seen: string[] = [];
    place.ranking.descend(0, (position) => {
      seen.push(fleet.node(place.nodes[position]!).name);
      return false;
    });
    expect(seen).toEqual(['b', 'c']);
    fleet.set(node('a', { site: 's' }));
    expect(fleet.columns.memoryFreeBytes[fleet.find('a')]).toBe(8 * GiB);
  });
});
