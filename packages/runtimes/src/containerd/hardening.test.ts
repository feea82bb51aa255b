import { statSync } from 'node:fs';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { GuestSpec, Runtime } from '../port.ts';
import { DEFAULT_CAPABILITIES } from './capabilities.ts';
import { createWorld, guestSpec, logText, run, shell, type World } from './testing/world.ts';

let world: World;
let runtime: Runtime;
const signal = AbortSignal.timeout(300_000);
beforeAll(async () => {
  world = await createWorld();
  runtime = world.runtime();
  await runtime.start(signal);
});
afterAll(() => world.end());

type Security = Partial<GuestSpec['security']>;
async function outputOf(
  script: string,
  security: Security = {},
  change: Partial<GuestSpec> = {},
): Promise<string> {
  const base = guestSpec(world.images, { ...shell(script), ...change });
  const spec = { ...base, security: { ...base.security, ...security } };
  await run(runtime, spec);
  await eventually('it ends', async () => (await runtime.recover(spec.uid, signal)).state === 'exited');
  return logText(runtime, spec.uid);
}

/** linux/capability.h */
const BITS: Record<string, number> = {
  CAP_CHOWN: 0,
  CAP_DAC_OVERRIDE: 1,
  CAP_FOWNER: 3,
  CAP_FSETID: 4,
  CAP_KILL: 5,
  CAP_SETGID: 6,
  CAP_SETUID: 7,
  CAP_SETPCAP: 8,
  CAP_NET_BIND_SERVICE: 10,
  CAP_NET_RAW: 13,
  CAP_SYS_CHROOT: 18,
  CAP_AUDIT_WRITE: 29,
  CAP_SETFCAP: 31,
}; // prettier-ignore
const maskOf = (names: readonly string[]) =>
  names
    .reduce((mask, name) => mask | (1n << BigInt(BITS[name]!)), 0n)
    .toString(16)
    .padStart(16, '0');

test('root inside has few capabilities, no way to more, and a filter on system calls', async () => {
  const text = await outputOf('cat /proc/self/status');
  const mask = maskOf(DEFAULT_CAPABILITIES);
  expect(text).toContain(`CapEff:\t${mask}`);
  expect(text).toContain(`CapBnd:\t${mask}`);
  expect(text).toContain('CapAmb:\t0000000000000000');
  expect(text).toContain('NoNewPrivs:\t1');
  expect(text).toContain('Seccomp:\t2');
  const more = await outputOf('grep CapEff /proc/self/status', { capabilities: ['CAP_NET_RAW'] });
  expect(more).toBe(`CapEff:\t${maskOf([...DEFAULT_CAPABILITIES, 'CAP_NET_RAW'])}`);
});

test('a capability that gives the node away is refused by name', async () => {
  const base = guestSpec(world.images);
  const spec = { ...base, security: { ...base.security, capabilities: ['CAP_SYS_MODULE'] } };
  await expect(runtime.apply({ do: 'create', spec }, signal)).rejects.toMatchObject({
    code: 'unsupported',
    message: expect.stringContaining('CAP_SYS_MODULE'),
  });
});

test('mounting, new namespaces, host names and the kernel behind /proc are out of reach', async () => {
  const text = await outputOf(
    'mount -t tmpfs t /tmp; echo mount $?; unshare -U true; echo unshare $?; hostname other; echo hostname $?; ' +
      'echo 1 > /proc/sys/kernel/panic; echo sysctl $?; wc -c < /proc/kcore; mknod /tmp/d b 7 0; echo mknod $?; ' +
      'ls /sys/firmware | wc -l',
  );
  for (const what of ['mount', 'unshare', 'hostname', 'sysctl', 'mknod']) expect(text).toContain(`${what} 1`);
  expect(text).toMatch(/^0$/m);
});

test('a guest sees its own processes, name, files and an empty network', async () => {
  const text = await outputOf(
    'echo pid $$; hostname; cat /etc/hostname; ls /sys/class/net; echo $FROM_IMAGE $MINE; pwd',
    {},
    { env: { MINE: 'too' } },
  );
  expect(text.split('\n')).toEqual(['pid 1', 'guest-0', 'guest-0', 'lo', 'yes too', '/root']);
});

test('a user by name gets the image own ids and groups, and no capabilities', async () => {
  const text = await outputOf('id -u; id -g; id -G; grep CapEff /proc/self/status', { user: 'worker' });
  expect(text.split('\n')).toEqual(['1000', '1001', '1001 2002', 'CapEff:\t0000000000000000']);
  expect(await outputOf('id -u; id -g', { user: '4321:77' })).toBe('4321\n77');
});

test('with a user namespace, root inside is nobody on the node and still owns its files', async () => {
  const script =
    'id -u; cat /proc/self/uid_map; touch /data/mine && ls -ln /data/mine /bin/busybox; sleep 100';
  const base = guestSpec(world.images, shell(script));
  const spec = { ...base, security: { ...base.security, userNamespace: true } };
  const state = await run(runtime, spec);
  const text = await eventually('its output', async () => {
    const seen = await logText(runtime, spec.uid);
    return seen.includes('/data/mine') ? seen : undefined;
  });
  expect(text).toMatch(/^0\n\s+0\s+100000\s+65536\n/);
  expect(text.match(/ 0 +0 /g)).toHaveLength(2);
  const session = await runtime.exec!.exec(
    spec.uid,
    { command: ['/bin/touch', '/data/more'], terminal: false },
    signal,
  );
  expect(await session.exit).toBe(0);
  expect(state.state === 'running' && statSync(`/proc/${state.pid}`).uid).toBe(100_000);
});
