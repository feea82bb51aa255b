import { readFileSync } from 'node:fs';
import { netnsPath, run as runHost } from '@skerry/host';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { GuestSpec, Runtime } from '../port.ts';
import { createWorld, guestSpec, logText, run, shell, type World } from './testing/world.ts';

let world: World;
let runtime: Runtime;
const made: string[] = [];
const devices: string[] = [];
const signal = AbortSignal.timeout(300_000);
const ip = (...args: string[]) => runHost('ip', args, { signal, timeoutMs: 10_000 });
const ADDRESS = '10.201.77.2';

beforeAll(async () => {
  world = await createWorld();
  runtime = world.runtime();
  await runtime.start(signal);
});
afterAll(async () => {
  await world.end();
  for (const device of devices) await ip('link', 'delete', device);
  for (const netns of made) await ip('netns', 'delete', netns);
});

/** In a network namespace of its own, as the network room makes it. */
async function attached(change: Partial<GuestSpec>): Promise<GuestSpec> {
  const netns = `${world.identity.netnsPrefix}net${made.length}`;
  made.push(netns);
  await ip('netns', 'add', netns);
  await ip('-n', netns, 'link', 'set', 'lo', 'up');
  const device = `${world.identity.interfacePrefix}n${made.length}`;
  await ip('link', 'add', device, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netns);
  devices.push(device);
  await ip('link', 'set', device, 'up');
  await ip('-n', netns, 'address', 'add', `${ADDRESS}/24`, 'dev', 'eth0');
  await ip('-n', netns, 'link', 'set', 'eth0', 'up');
  const spec = guestSpec(world.images, change);
  const address = { address: ADDRESS, prefixLength: 24, gateway: '10.201.77.1', dns: '10.201.77.1' };
  const network = { ...address, uid: spec.uid, mac: '02:00:00:00:00:01', mtu: 1500 };
  return { ...spec, network: { ...network, kind: 'netns', netns, path: netnsPath(netns) } };
}

test('a container is in the network namespace that was prepared for it, and knows name server and own name', async () => {
  const script = `cat /etc/resolv.conf; grep guest-0 /etc/hosts; cat /proc/sys/net/ipv4/ping_group_range; grep -c ${ADDRESS} /proc/net/fib_trie`;
  const spec = await attached(shell(script));
  await run(runtime, spec);
  const text = await eventually('its output', async () => {
    const seen = await logText(runtime, spec.uid);
    return seen.split('\n').length >= 5 ? seen : undefined;
  });
  expect(text.split('\n').slice(0, 4)).toEqual([
    'nameserver 10.201.77.1',
    'options ndots:0',
    `${ADDRESS} guest-0`,
    '0\t2147483647',
  ]);
  expect(Number(text.split('\n')[4])).toBeGreaterThan(0);
});

test.each([
  ['root', {}],
  ['a user of the image', { user: 'worker' }],
  ['root of a mapped user namespace', { userNamespace: true }],
])('%s may listen on port 80', async (_who, security) => {
  const spec = await attached(
    shell('mkdir -p /tmp/w; echo served > /tmp/w/index.html; exec httpd -f -p 80 -h /tmp/w'),
  );
  const state = await run(runtime, { ...spec, security: { ...spec.security, ...security } });
  const pid = state.state === 'running' ? state.pid : 0;
  // Port 80 in the state LISTEN, as proc_net_tcp(5) writes it.
  await eventually('it listens', async () =>
    ['tcp', 'tcp6'].some((name) => /:0050 \S+ 0A /.test(readFileSync(`/proc/${pid}/net/${name}`, 'utf8'))),
  );
  await runtime.apply({ do: 'stop', uid: spec.uid, graceMs: 100 as never }, signal);
  await runtime.apply({ do: 'remove', uid: spec.uid }, signal);
});

test('a mapped root owns its network, and programs can be started beside it', async () => {
  const base = await attached(shell('exec sleep 1000'));
  const spec = { ...base, security: { ...base.security, userNamespace: true } };
  await run(runtime, spec);
  const script = `ip -o -4 address show eth0; ip route; cat /proc/self/uid_map; ip link set eth0 mtu 1400 2>&1`;
  const session = await runtime.exec!.exec(
    spec.uid,
    { command: ['sh', '-c', script], terminal: false },
    signal,
  );
  let text = '';
  for await (const { data } of session.output) text += Buffer.from(data).toString();
  expect(text).toContain(`${ADDRESS}/24`);
  expect(text).toContain('default via 10.201.77.1 dev eth0');
  expect(text).not.toMatch(/^ +0 +0 /m); // root inside is somebody else outside
  expect(await session.exit).not.toBe(0); // it has no CAP_NET_ADMIN all the same
  await runtime.apply({ do: 'stop', uid: spec.uid, graceMs: 100 as never }, signal);
  await runtime.apply({ do: 'remove', uid: spec.uid }, signal);
});
