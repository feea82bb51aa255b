import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cgroupMode, mountsBelow, readCgroup } from '@skerry/host';
import { type Bytes, SkerryError } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Runtime } from '../port.ts';
import { createWorld, guestSpec, logText, run, shell, type World } from './testing/world.ts';

let world: World;
let runtime: Runtime;
const signal = AbortSignal.timeout(300_000);
const MiB = 1024 * 1024;
beforeAll(async () => {
  world = await createWorld();
  runtime = world.runtime();
  await runtime.start(signal);
});
afterAll(() => world.end());

const ended = (uid: Parameters<Runtime['recover']>[0]) =>
  eventually('it ends', async () => {
    const state = await runtime.recover(uid, signal);
    return state.state === 'exited' ? state.exit : undefined;
  });

test('processor, memory and process limits stand in its control group', async () => {
  const spec = guestSpec(world.images, { cpus: 0.25, pids: 33, memoryBytes: (48 * MiB) as Bytes });
  await run(runtime, spec);
  const group = `${world.identity.cgroup}/${spec.uid}`;
  const v2 = cgroupMode() === 'v2';
  expect(readCgroup(group, 'memory', v2 ? 'memory.max' : 'memory.limit_in_bytes')).toBe(String(48 * MiB));
  expect(readCgroup(group, 'pids', 'pids.max')).toBe('33');
  if (v2) expect(readCgroup(group, 'cpu', 'cpu.max')).toBe('25000 100000');
  else expect(readCgroup(group, 'cpu', 'cpu.cfs_quota_us')).toBe('25000');
  const stats = await runtime.stats(spec.uid, signal);
  expect(stats).toMatchObject({ memoryLimitBytes: 48 * MiB, pids: expect.any(Number) });
  expect(stats.memoryBytes).toBeGreaterThan(0);
  expect(stats.cpuMs).toBeGreaterThan(0);
});

test('a fork bomb stays inside its limit of processes and can be stopped', async () => {
  const spec = guestSpec(world.images, {
    ...shell('bomb() { bomb | bomb & }; bomb; while true; do sleep 1; done'),
    pids: 40,
    cpus: 0.5,
  });
  await run(runtime, spec);
  const group = `${world.identity.cgroup}/${spec.uid}`;
  await eventually('it is refused more processes', () => {
    const events = readCgroup(group, 'pids', 'pids.events') ?? '';
    return Number(/max (\d+)/.exec(events)?.[1] ?? 0) > 0;
  });
  expect(Number(readCgroup(group, 'pids', 'pids.current'))).toBeLessThanOrEqual(40);
  await runtime.apply({ do: 'stop', uid: spec.uid, graceMs: 200 as never }, signal);
  expect(await runtime.apply({ do: 'remove', uid: spec.uid }, signal)).toEqual({ state: 'absent' });
});

test.each([false, true])(
  'a disk limit holds for the whole writable layer: the guest hears "no space" (user namespace: %s)',
  async (userNamespace) => {
    const script =
      'dd if=/dev/zero of=/data/big bs=1M count=64 2>&1; echo code $?; ls -l /data/big; grep worker /etc/passwd';
    const spec = guestSpec(world.images, {
      ...shell(script),
      diskBytes: (16 * MiB) as Bytes,
      security: { readOnlyRoot: false, capabilities: [], userNamespace },
    });
    await run(runtime, spec);
    expect(await ended(spec.uid)).toMatchObject({ reason: 'completed' });
    const text = await logText(runtime, spec.uid);
    expect(text).toContain('No space left on device');
    expect(text).toContain('code 1');
    expect(text).toContain('worker:x:1000');
    const folder = join(world.identity.dataDir, 'guests', spec.uid);
    expect(mountsBelow(folder)).toHaveLength(1);
    await runtime.apply({ do: 'remove', uid: spec.uid }, signal);
    expect(mountsBelow(folder)).toEqual([]);
    const tiny = guestSpec(world.images, { diskBytes: 4096 as Bytes });
    await expect(runtime.apply({ do: 'create', spec: tiny }, signal)).rejects.toMatchObject({
      code: 'unsupported',
    });
  },
);

test('a read-only root can not be written, its scratch folders can', async () => {
  const script = 'touch /data/x 2>&1; echo root $?; touch /tmp/x && touch /run/x; echo scratch $?';
  const base = guestSpec(world.images, shell(script));
  const spec = { ...base, security: { ...base.security, readOnlyRoot: true } };
  await run(runtime, spec);
  await ended(spec.uid);
  expect(await logText(runtime, spec.uid)).toMatch(/Read-only file system[\s\S]*root 1\nscratch 0/);
});

test.each([false, true])(
  'volumes are the host folders that they were given, read-only where asked (user namespace: %s)',
  async (userNamespace) => {
    const folder = mkdtempSync(join(tmpdir(), 'skerry-volume-'));
    try {
      writeFileSync(join(folder, 'from-host'), 'hello');
      const script = 'cat /v/from-host; echo; echo back > /v/from-guest; touch /r/x 2>&1; echo ro $?';
      const spec = guestSpec(world.images, {
        ...shell(script),
        security: { readOnlyRoot: false, capabilities: [], userNamespace },
        volumes: [
          { name: 'v', hostPath: folder, mount: '/v', readOnly: false },
          { name: 'r', hostPath: folder, mount: '/r', readOnly: true },
        ],
      });
      await run(runtime, spec);
      await ended(spec.uid);
      expect(await logText(runtime, spec.uid)).toMatch(/^hello[\s\S]*\nro 1$/);
      expect(readFileSync(join(folder, 'from-guest'), 'utf8')).toBe('back\n');
      const climbing = guestSpec(world.images, {
        volumes: [{ name: 'v', hostPath: folder, mount: '/../etc', readOnly: false }],
      });
      await expect(runtime.apply({ do: 'create', spec: climbing }, signal)).rejects.toBeInstanceOf(
        SkerryError,
      );
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
