// A container that Docker made is on Skerry's own network: from its first moment, after a crash between any two steps, by name,
// by published port, and behind the same filter as every other guest.
import { readFileSync } from 'node:fs';
import {
  cgroupChildren,
  cgroupProcesses,
  ipBatch,
  isContainerInit,
  isInNetns,
  processRef,
  run as runHost,
} from '@skerry/host';
import type { Id } from '@skerry/model';
import {
  address6Of,
  addressOfSlot,
  chooseSubnet,
  createLinuxNetwork,
  macOfSlot,
  type NodeNetwork,
  parseSubnet,
  parseSubnet6,
  type Subnet,
} from '@skerry/network';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { guestSpec, logText, run, shell } from '../containerd/testing/world.ts';
import type { GuestSpec, Runtime } from '../port.ts';
import { EngineApi } from './engine-api.ts';
import { containerName } from './names.ts';
import { type DockerBed, makeDockerBed } from './testing/bed.ts';

const signal = AbortSignal.timeout(300_000);
const quiet = { info: () => undefined, warn: () => undefined };
let bed: DockerBed;
let runtime: Runtime;
let network: NodeNetwork;
let subnet: Subnet;
let slot = 1;

beforeAll(async () => {
  bed = await makeDockerBed();
  runtime = bed.open();
  const cidr = await chooseSubnet(bed.identity, signal);
  subnet = parseSubnet(cidr);
  network = createLinuxNetwork({ identity: bed.identity, subnet: cidr, logger: quiet });
  await network.start([], signal);
  await runtime.start(signal);
});
afterAll(async () => {
  await runtime.stop();
  await runtime.destroy(signal);
  await network.destroy(signal);
  await bed.close();
});

/** On the network room's own network. */
async function attached(change: Partial<GuestSpec>, publish?: number): Promise<GuestSpec> {
  const spec = guestSpec(bed.images, change);
  const number = slot++;
  const attachment = await network.attach(
    {
      ...{ uid: spec.uid, hostname: `guest-${number}`, kind: 'netns', slot: number },
      ...{ address: addressOfSlot(subnet, number), mac: macOfSlot(bed.identity, number) },
      address6: address6Of(parseSubnet6(network.subnet6!), subnet, addressOfSlot(subnet, number)),
      ports: publish === undefined ? [] : [{ name: 'http', port: 80, protocol: 'tcp', publish }],
    },
    signal,
  );
  return { ...spec, name: `guest-${number}`, network: attachment };
}
const netnsOf = (uid: Id<'instance'>) => `${bed.identity.netnsPrefix}${uid}`;
const remove = async (uid: Id<'instance'>) => {
  await runtime.apply({ do: 'remove', uid }, signal);
  await network.detach(uid, signal);
  expect(await bed.leftovers(uid)).toEqual([]);
  const { stdout } = await runHost('ip', ['-o', 'link'], { signal, timeoutMs: 5000 });
  expect(stdout).not.toContain(uid); // an interface's alias names its guest
};
const inside = (uid: Id<'instance'>, ...command: string[]) =>
  runHost('ip', ['netns', 'exec', netnsOf(uid), ...command], {
    signal,
    timeoutMs: 10_000,
    okCodes: [0, 1, 2],
  });
/** From one guest to another's web server. */
async function answers(from: Id<'instance'>, address: string): Promise<string> {
  return eventually('it answers', async () => {
    const command = ['wget', '-q', '-O', '-', `http://${address}/`];
    const session = await runtime.exec!.exec(from, { command, terminal: false }, signal);
    let text = '';
    for await (const { stream, data } of session.output)
      if (stream === 'stdout') text += Buffer.from(data).toString();
    return (await session.exit) === 0 && text;
  });
}
const WEB = 'echo served > /tmp/index.html; exec httpd -f -p 80 -h /tmp';

test('its program never runs without its interface and its route', async () => {
  for (let round = 0; round < 5; round++) {
    const spec = await attached(shell('cat /proc/net/route; echo over'));
    await run(runtime, spec);
    const text = await eventually('its output', async () => {
      const seen = await logText(runtime, spec.uid);
      return seen.includes('over') && seen;
    });
    expect(text.match(/^eth0/gm)).toHaveLength(2); // its network, and the way out
    await remove(spec.uid);
  }
});

test('others reach it by address, by name and by its published port; another address it can not use', async () => {
  const server = await attached(shell(WEB), 39_517);
  const client = await attached(shell('exec sleep 1000'));
  await Promise.all([run(runtime, server), run(runtime, client)]);
  expect(await answers(client.uid, server.network!.address)).toBe('served\n');
  const published = await eventually('the published port answers', () =>
    fetch('http://127.0.0.1:39517/').then(
      (answer) => answer.text(),
      () => undefined,
    ),
  );
  expect(published).toBe('served\n');
  expect(await answers(client.uid, `[${server.network!.v6!.address}]`)).toBe('served\n');
  const command = ['/bin/busybox', 'nslookup', server.name, client.network!.dns];
  const session = await runtime.exec!.exec(client.uid, { command, terminal: false }, signal);
  let words = '';
  for await (const { data } of session.output) words += Buffer.from(data).toString();
  expect(words).toContain(server.network!.address);
  const stolen = addressOfSlot(subnet, 99);
  await ipBatch([`addr add ${stolen}/32 dev eth0`], signal, netnsOf(client.uid));
  const ping = (from: string) =>
    inside(client.uid, 'ping', '-n', '-c', '1', '-W', '1', '-I', from, server.network!.address);
  expect((await ping(client.network!.address)).code).toBe(0);
  expect((await ping(stolen)).code).not.toBe(0);
  for (const { uid } of [server, client]) await remove(uid);
});

/** What a crash after the engine started it, and before we gave it its interface, leaves. */
async function startedByEngineAlone(): Promise<{ spec: GuestSpec; pid: number }> {
  const spec = await attached(shell(WEB));
  await runtime.apply({ do: 'create', spec }, signal);
  const api = new EngineApi(bed.engine.socketPath);
  const path = `/containers/${containerName(bed.identity.id, spec.uid)}`;
  await api.call('POST', `${path}/start`);
  const { State } = await api.call<{ State: { Pid: number } }>('GET', `${path}/json`);
  await api.close();
  return { spec, pid: State.Pid };
}

test.each([
  ['right after its start', () => []],
  [
    'after its interface was moved',
    (netns: string, pid: number) => [[`link set dev eth0 netns ${pid}`, netns]],
  ],
  [
    'after its namespace lost its old name',
    (netns: string, pid: number) => [[`link set dev eth0 netns ${pid}`, netns], [`netns delete ${netns}`]],
  ],
  [
    'before its address was set',
    (netns: string, pid: number) => [
      [`link set dev eth0 netns ${pid}`, netns],
      [`netns delete ${netns}`],
      [`netns attach ${netns} ${pid}`],
    ],
  ],
] as const)('a crash %s: the next start of the agent gives it what is missing', async (_when, steps) => {
  const { spec, pid } = await startedByEngineAlone();
  for (const [line, netns] of steps(netnsOf(spec.uid), pid) as string[][])
    expect(await ipBatch([line!], signal, netns)).toEqual([]);
  await runtime.stop();
  runtime = bed.open();
  await runtime.start(signal);
  expect(await runtime.recover(spec.uid, signal)).toMatchObject({ state: 'running', pid });
  expect(isInNetns(netnsOf(spec.uid), pid)).toBe(true);
  const other = await attached(shell('exec sleep 1000'));
  await run(runtime, other);
  expect(await answers(other.uid, spec.network!.address)).toBe('served\n');
  for (const { uid } of [spec, other]) await remove(uid);
});

test('a crash while its first process is held: it is let go, and runs', async () => {
  const spec = await attached(shell(WEB));
  await runtime.apply({ do: 'create', spec }, signal);
  const api = new EngineApi(bed.engine.socketPath);
  const starting = api.call('POST', `/containers/${containerName(bed.identity.id, spec.uid)}/start`);
  const held = await eventually(
    'its first process is there',
    () => {
      const pids = cgroupChildren(bed.identity.cgroup).flatMap((name) =>
        cgroupProcesses(`${bed.identity.cgroup}/${name}`),
      );
      return pids.find(isContainerInit);
    },
    { everyMs: 1 },
  );
  process.kill(held, 'SIGSTOP');
  await runtime.stop();
  runtime = bed.open();
  await runtime.start(signal);
  expect(await runtime.recover(spec.uid, signal)).toMatchObject({ state: 'running', pid: held });
  await starting;
  await api.close();
  const other = await attached(shell('exec sleep 1000'));
  await run(runtime, other);
  expect(await answers(other.uid, spec.network!.address)).toBe('served\n');
  for (const { uid } of [spec, other]) await remove(uid);
});

test('one that ends at once, again and again, takes no interface with it for good', async () => {
  const first = await attached(shell('exit 3'));
  for (let round = 0; round < 4; round++) {
    await run(runtime, first);
    await eventually('it ends', async () => (await runtime.recover(first.uid, signal)).state === 'exited');
    await runtime.apply({ do: 'remove', uid: first.uid }, signal);
    const { network: before } = first;
    const again = await network.attach(
      {
        ...{ uid: first.uid, hostname: first.name, kind: 'netns', slot: slot - 1 },
        ...{ address: before!.address, address6: before!.v6!.address, mac: before!.mac, ports: [] },
      },
      signal,
    );
    expect(again).toEqual(before);
  }
  const program = shell(WEB);
  await run(runtime, { ...first, ...program, incarnation: '2' });
  const other = await attached(shell('exec sleep 1000'));
  await run(runtime, other);
  expect(await answers(other.uid, first.network!.address)).toBe('served\n');
  for (const { uid } of [first, other]) await remove(uid);
});

test('one that has ended, which its engine does not know yet, is no failure: its end is told when it is known', async () => {
  const spec = await attached(shell('exec sleep 1000'));
  const state = await run(runtime, spec);
  if (state.state !== 'running') throw new Error(`it does not run: ${JSON.stringify(state)}`);
  const stat = readFileSync(`/proc/${state.pid}/stat`, 'utf8');
  const shim = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]); // proc(5): its parent
  process.kill(shim, 'SIGSTOP');
  try {
    process.kill(state.pid, 'SIGKILL');
    await eventually('it has ended', () => processRef(state.pid) === undefined);
    expect(await runtime.recover(spec.uid, signal)).toMatchObject({ state: 'running', pid: state.pid });
  } finally {
    process.kill(shim, 'SIGCONT');
  }
  await eventually(
    'its end is known',
    async () => (await runtime.recover(spec.uid, signal)).state === 'exited',
  );
  await remove(spec.uid);
});
