// Several network cards of one machine: on the node network, and on bridges that the operator of the node made.
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Instance, Node } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Program, ROOT, startProgram, skerry as typed } from '../support/program.ts';

const own = randomBytes(3).toString('hex');
/** Two bridges of this machine, without an address of their own, and a namespace with a foot on the first. */
const [plant, office, netns] = [`skt${own}p`, `skt${own}o`, `skt-${own}`];
const [near, guest] = ['198.51.100.1', '198.51.100.10']; // for documentation (RFC 5737)
let skerry: Program;
const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8' });
const addBridge = (name: string) => {
  ip('link', 'add', name, 'type', 'bridge');
  ip('link', 'set', name, 'addrgenmode', 'none', 'up');
};

beforeAll(async () => {
  for (const bridge of [plant, office]) addBridge(bridge);
  ip('netns', 'add', netns);
  ip('link', 'add', `skt${own}v`, 'master', plant, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netns);
  ip('link', 'set', `skt${own}v`, 'up');
  ip('-n', netns, 'addr', 'add', `${near}/24`, 'dev', 'eth0');
  ip('-n', netns, 'link', 'set', 'eth0', 'up');
  skerry = await startProgram({ args: ['--network', `plant=${plant}`, '--network', `office=${office}`] });
  await skerry.run('image', 'import', join(ROOT, 'guests/vm-linux/build/disk.qcow2'), '--name', 'harbour:1');
});
afterAll(async () => {
  try {
    expect(await skerry.purge()).toEqual([]);
    expect(ports(plant)).toEqual([`skt${own}v`]);
  } finally {
    ip('netns', 'delete', netns);
    for (const bridge of [plant, office]) ip('link', 'delete', bridge);
  }
});

const manifest = (networks: string, name = 'gate') => `apiVersion: skerry/v1
kind: Workload
metadata: { name: ${name} }
spec:
  runtime: vm
  image: harbour:1
  stopGrace: 1s
  resources: { cpus: 1, memory: 96MiB }
  ports: [{ name: http, port: 8080 }]
  health: { http: { port: 8080, path: /healthz }, interval: 1s }
  vm:
    networks: ${networks}
`;
const apply = (text: string, ...more: string[]) =>
  typed(['apply', '-f', '-', ...more], { env: { SKERRY_DATA: skerry.dataDir }, input: text });
const instance = async (workload = 'gate') =>
  (await skerry.json<Instance[]>('workload', 'instances')).find(({ spec }) => spec.workload === workload)!;
const ports = (bridge: string) => readdirSync(`/sys/class/net/${bridge}/brif`);
const cards = (bridge: string) => ports(bridge).filter((name) => name.startsWith(`sk${skerry.id}n`));
/** What the plant sees of it: an answer, and the MAC that it came from. */
const fromPlant = () => {
  const url = `http://${guest}:8080/healthz`;
  const body = execFileSync('ip', ['netns', 'exec', netns, 'curl', '-sS', '-m', '3', url], {
    encoding: 'utf8',
  });
  return { body, mac: /lladdr (\S+)/.exec(ip('-n', netns, 'neigh', 'show', guest))?.[1] };
};
const inside = async (script: string) =>
  (
    await eventually('the agent answers', async () => {
      const ran = await skerry.try('workload', 'exec', 'gate', '--', '/bin/sh', '-c', script);
      return ran.code === 0 && ran;
    })
  ).stdout;

test('a node tells which networks it has', async () => {
  const [node] = await skerry.json<Node[]>('node', 'list');
  expect(node!.status.networks).toEqual(['plant', 'office']);
  expect(await skerry.run('doctor')).toMatch(new RegExp(`bridge\\.plant .*${plant}`));
});

test('a machine answers on each of its networks, and its way out stays the first', async () => {
  const applied = await apply(
    manifest(`[{ name: plant, address: ${guest}/24 }, { name: office }]`),
    '--wait',
  );
  expect(applied).toMatchObject({ code: 0 });
  expect([cards(plant).length, cards(office).length]).toEqual([1, 1]);
  const { address } = (await instance()).spec.network!;
  expect(await (await fetch(`http://${address}:8080/healthz`)).text()).toMatch(/ok/);
  expect(fromPlant().body).toMatch(/ok/);
  expect(await inside('ls /sys/class/net | grep -c ^e')).toBe('3\n');
  expect(await inside('ip route | grep -c ^default')).toBe('1\n');
});

test('it keeps its cards and their addresses when it is started again, and while the program is away', async () => {
  const before = fromPlant();
  await skerry.kill();
  expect(fromPlant()).toEqual(before);
  await skerry.up();
  expect(fromPlant()).toEqual(before);
  const { pid } = (await instance()).status;
  await skerry.run('workload', 'restart', 'gate', '--wait');
  expect((await instance()).status.pid).not.toBe(pid);
  ip('-n', netns, 'neigh', 'flush', 'all');
  expect(fromPlant()).toEqual(before);
});

test('a card may use its own MAC alone', async () => {
  const before = fromPlant();
  // a card of the guest that says to be another: the plant learns nothing from it
  const card = (await inside(`grep -l ${before.mac} /sys/class/net/e*/address`)).split('/')[4]!;
  await inside(`ip link set ${card} address 02:00:00:00:00:99`);
  ip('-n', netns, 'neigh', 'flush', 'all');
  expect(() => fromPlant()).toThrow();
  await inside(`ip link set ${card} address ${before.mac}`);
  await eventually('it is there again', () => fromPlant().mac === before.mac);
});

test('what no node has is refused with its line; what is wrong of a card, too', async () => {
  const nowhere = await apply(manifest('[{ name: shore }]', 'lost'));
  expect(nowhere.code).toBe(1);
  expect(nowhere.stderr).toMatch(/line 12.*has no network "shore"/s);
  const twice = await apply(manifest('[{ name: plant }, { name: plant }]', 'lost'));
  expect(twice.stderr).toMatch(/:12: .*spec\.vm\.networks\[1\]\.name.*already/s);
  const broad = await apply(manifest('[{ name: plant, address: 198.51.100.255/24 }]', 'lost'));
  expect(broad.stderr).toMatch(/spec\.vm\.networks\[0\]\.address.*no address that a card can have/s);
  const many = manifest('[{ name: plant, address: 198.51.100.9/24 }]', 'lost').replace(
    'spec:',
    'spec:\n  replicas: 2',
  );
  expect((await apply(many)).stderr).toMatch(/one machine can have it, and there are 2 replicas/);
  expect(await skerry.try('workload', 'show', 'lost')).toMatchObject({ code: 1 });
});

test('a bridge that is not there is the reason why a machine does not start, and it starts when it is', async () => {
  ip('link', 'delete', office);
  expect((await apply(manifest('[{ name: office }]', 'late'))).code).toBe(0);
  await eventually('the reason is told', async () =>
    (await instance('late')).status.exits.some(
      ({ reason, message }) => reason === 'start-failed' && message?.includes(`bridge ${office}`),
    ),
  );
  addBridge(office);
  await eventually('it runs', async () => (await instance('late')).status.phase === 'running', {
    withinMs: 60_000,
  });
  for (const name of ['late', 'gate']) await skerry.run('workload', 'delete', name);
  expect([cards(plant), cards(office)]).toEqual([[], []]);
});
