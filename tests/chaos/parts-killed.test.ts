// Every process that a guest has on the host is killed, one after the other: monitors, supervisors, shims, QEMU, LXC. The guest goes
// on or is started again, once, with the reason told; nothing is left behind, and its neighbours do not notice.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Client, createClient } from '@skerry/contract';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  container,
  guestLinks,
  guestsOnHost,
  importFourKinds,
  sector,
  system,
  unikernel,
} from '../support/four-kinds.ts';
import { type Program, startProgram } from '../support/program.ts';

const project = 'default';
let skerry: Program;
let client: Client;

const GUESTS = [
  container('box', 'hello'),
  system('lighthouse', '64MiB'),
  unikernel('thermo'),
  sector('sector', '16MiB'),
];
const instances = async () => (await client.instance.list({ project })).items;
const instance = async (workload: string) =>
  (await instances()).find(({ spec }) => spec.workload === workload)!;
const othersThan = async (workload: string) =>
  (await instances())
    .filter(({ spec }) => spec.workload !== workload)
    .map(({ metadata, status }) => [metadata.name, status.pid, status.restartCount]);

interface Part {
  readonly pid: number;
  readonly name: string;
}
/** Processes on the host that carry the guest's identifier in their arguments, without what runs inside. */
function partsOf(uid: string): Part[] {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .flatMap((pid) => {
      try {
        const [file, ...args] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        if (![file, ...args].some((word) => word?.includes(uid))) return [];
        return [{ pid: Number(pid), name: readFileSync(`/proc/${pid}/comm`, 'utf8').trim() }];
      } catch {
        return [];
      }
    });
}
const ready = async (workload: string) => {
  const { status } = await instance(workload);
  return status.phase === 'running' && status.pid !== undefined && isAlive(status.pid);
};
const isAlive = (pid: number) => {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

beforeAll(async () => {
  skerry = await startProgram();
  client = createClient({ socketPath: join(skerry.dataDir, 'api.sock') });
  await importFourKinds(skerry);
  for (const manifest of GUESTS) await client.apply({ project, body: JSON.stringify(manifest) });
  await eventually('they run', async () => {
    const all = await instances();
    return all.length === GUESTS.length && all.every(({ status }) => status.phase === 'running');
  });
}, 120_000);
afterAll(async () => {
  await client.close();
  expect(await skerry.purge()).toEqual([]);
}, 120_000);

/** What each of them is for, and whether the guest outlives it. */
const PARTS = [
  ['thermo', 'skerry-run', 'goes on'],
  ['thermo', 'qemu-system-x86', 'is started again'],
  ['sector', 'skerry-run', 'goes on'],
  ['sector', 'qemu-system-x86', 'is started again'],
  ['lighthouse', 'skerry-system', 'is started again'],
  ['lighthouse', 'lxc-start', 'is started again'],
  ['box', 'skerry-log', 'goes on'],
  ['box', 'containerd-shim', 'is started again'],
] as const;

test.each(PARTS)('%s: its process %s is killed, and it %s', async (name, part, outcome) => {
  const others = await othersThan(name);
  const { metadata, status: before } = await instance(name);
  const victims = partsOf(metadata.uid).filter((one) => one.name === part);
  expect(victims).toHaveLength(1);
  process.kill(victims[0]!.pid, 'SIGKILL');
  await eventually('it is gone', () => !isAlive(victims[0]!.pid));
  if (outcome === 'is started again') {
    const { status } = await eventually('it runs again, once, and tells why', async () => {
      const now = await instance(name);
      expect(now.status.restartCount).toBe(before.restartCount + 1);
      return (await ready(name)) && now;
    });
    expect(status.pid).not.toBe(before.pid);
    expect(['signal', 'vanished']).toContain(status.exits[0]!.reason);
    expect(isAlive(before.pid!)).toBe(false);
  } else {
    expect(await ready(name)).toBe(true);
    expect((await instance(name)).status.pid).toBe(before.pid);
  }
  expect(await othersThan(name)).toEqual(others);
});

test('none was started more often than it ended, and each can be stopped and deleted; nothing is left of them', async () => {
  for (const name of GUESTS.map(({ metadata }) => metadata.name)) {
    const ends = PARTS.filter(([of, , outcome]) => of === name && outcome === 'is started again');
    expect((await instance(name)).status.restartCount).toBe(ends.length);
    await client.workload.delete({ project, name });
  }
  await eventually('all are gone', async () => (await instances()).length === 0);
  expect([...guestsOnHost(skerry)]).toEqual([]);
  expect(guestLinks(skerry.id)).toEqual([]);
});
