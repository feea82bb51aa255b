// What only system containers promise, on the real LXC with a busybox root.
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cgroupMode, endProcess, processesWithArgument, processRef, readCgroup, run } from '@skerry/host';
import type { Bytes, GuestExit, Millis } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { GuestEvent, GuestSpec, GuestState, Runtime } from '../port.ts';
import { SystemFolder } from './guest-folder.ts';
import { begin, type LxcBed, logText, makeLxcBed, shell } from './testing/bed.ts';

const MiB = 1024 * 1024;
const signal = AbortSignal.timeout(300_000);
const MAPPED = { readOnlyRoot: false, capabilities: [], userNamespace: true };
let bed: LxcBed;
let runtime: Runtime;
beforeAll(async () => {
  bed = await makeLxcBed();
  runtime = bed.open();
  await runtime.start(signal);
});
afterAll(() => bed.close());

type Uid = GuestSpec['uid'];
const folderOf = (uid: Uid) => new SystemFolder(bed.identity, uid);
const pidOf = (state: GuestState) => {
  if (state.state !== 'running') throw new Error(`it does not run: ${JSON.stringify(state)}`);
  return state.pid;
};
const endOf = (uid: Uid): Promise<GuestExit> =>
  eventually('it ends', async () => {
    const state = await runtime.recover(uid, signal);
    return state.state === 'exited' ? state.exit : undefined;
  });
const removed = async (uid: Uid) => {
  expect(await runtime.apply({ do: 'remove', uid }, signal)).toEqual({ state: 'absent' });
  expect(await bed.leftovers(uid)).toEqual([]);
};
/** Runs a command inside and gives what it wrote and its code. */
async function inside(uid: Uid, script: string, terminal = false) {
  const session = await runtime.exec!.exec(uid, { command: ['/bin/sh', '-c', script], terminal }, signal);
  const text = { stdout: '', stderr: '' };
  for await (const { stream, data } of session.output) text[stream] += Buffer.from(data).toString();
  return { ...text, code: await session.exit };
}
const heard = (stop: AbortSignal) => {
  const events: GuestEvent[] = [];
  void (async () => {
    for await (const event of runtime.events(stop)) events.push(event);
  })();
  return events;
};

test('busybox’s init boots, is reached over its network, and powers itself off when asked to stop', async () => {
  const base = bed.spec({ env: { WHO: 'it is me' } });
  const spec = { ...base, network: await bed.netns(base.uid) };
  await begin(runtime, spec);
  await eventually('its console is in the log', async () =>
    (await logText(runtime, spec.uid)).includes('busybox is up'),
  );
  const { stdout } = await inside(
    spec.uid,
    'hostname; cat /etc/resolv.conf; ifconfig eth0; tr "\\0" "\\n" </proc/1/environ; cat /proc/1/comm',
  ).catch((error) => ({ stdout: String(error) }));
  expect(stdout).toContain('guest-0');
  expect(stdout).toContain('nameserver 10.200.0.1');
  expect(stdout).toContain('10.200.0.2');
  const before = performance.now();
  const state = await runtime.apply({ do: 'stop', uid: spec.uid, graceMs: 10_000 as Millis }, signal);
  expect(state).toMatchObject({ state: 'exited', exit: { reason: 'stopped' } });
  expect(performance.now() - before).toBeLessThan(8000);
  await removed(spec.uid);
});

test('one that powers itself off has completed', async () => {
  const spec = bed.spec();
  await begin(runtime, spec);
  await inside(spec.uid, 'poweroff');
  expect(await endOf(spec.uid)).toMatchObject({ reason: 'completed', code: 0 });
  await removed(spec.uid);
});

test('one that restarts itself goes on as the same guest', async () => {
  const spec = bed.spec();
  const pid = pidOf(await begin(runtime, spec));
  await inside(spec.uid, 'busybox reboot');
  const state = await eventually('another init runs', async () => {
    const now = await runtime.recover(spec.uid, signal);
    return now.state === 'running' && now.pid !== pid && now;
  });
  expect(state.incarnation).toBe('1');
  await removed(spec.uid);
});

test('root inside is nobody outside: what it makes belongs to a range of ids that no other guest has', async () => {
  const owners = new Set<number>();
  for (const _ of [1, 2]) {
    const base = bed.spec({ security: MAPPED });
    const spec = { ...base, network: await bed.netns(base.uid) };
    const pid = pidOf(await begin(runtime, spec));
    const { stdout } = await inside(
      spec.uid,
      'id -u; touch /data/mine; chown 7:7 /data/mine; stat -c %u /bin/busybox /etc/hosts; ifconfig eth0; route -n; id',
    );
    expect(stdout).toMatch(/^0\n0\n0\n/);
    expect(stdout).toContain('10.200.0.2');
    expect(stdout).toContain('10.200.0.1');
    expect(stdout).toContain('fd00:200::2/64');
    const first = folderOf(spec.uid).read()!.firstId!;
    owners.add(first);
    expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toContain(`Uid:\t${first}\t`);
    expect(statSync(join(folderOf(spec.uid).layer, 'upper/data/mine')).uid).toBe(first + 7);
    await runtime.apply({ do: 'stop', uid: spec.uid, graceMs: 5000 as Millis }, signal);
    // It has its interface back: the guest can be started anew on it.
    const found = await run('ip', ['-n', spec.network.kind === 'netns' ? spec.network.netns : '', 'link'], {
      ...{ signal, timeoutMs: 5000 },
    });
    expect(found.stdout).toContain('eth0');
    await removed(spec.uid);
  }
  expect(owners.size).toBe(2);
});

test('processor, memory and process limits stand in its control group, out of its reach', async () => {
  const spec = bed.spec({ ...shell('sleep 1000'), cpus: 0.25, pids: 33, memoryBytes: (48 * MiB) as Bytes });
  await begin(runtime, spec);
  const { cgroup, payload } = folderOf(spec.uid);
  const v2 = cgroupMode() === 'v2';
  expect(readCgroup(payload, 'memory', v2 ? 'memory.max' : 'memory.limit_in_bytes')).toBe(String(48 * MiB));
  expect(readCgroup(payload, 'pids', 'pids.max')).toBe('33');
  if (v2) expect(readCgroup(cgroup, 'cpu', 'cpu.max')).toBe('25000 100000');
  else expect(readCgroup(cgroup, 'cpu', 'cpu.cfs_quota_us')).toBe('25000');
  const stats = await runtime.stats(spec.uid, signal);
  expect(stats).toMatchObject({ memoryLimitBytes: 48 * MiB, pids: expect.any(Number) });
  const { stdout } = await inside(
    spec.uid,
    'for i in $(seq 60); do sleep 0.5 & done 2>&1; echo; kill $(jobs -p)',
  );
  void stdout;
  expect(Number(/max (\d+)/.exec(readCgroup(payload, 'pids', 'pids.events') ?? '')?.[1])).toBeGreaterThan(0);
  await removed(spec.uid);
});

test('want of memory is told: as an event where a process ends of it, as the reason where init does', async () => {
  const stop = new AbortController();
  const events = heard(stop.signal);
  const eat = 'x=y; while true; do x=$x$x; done';
  const child = bed.spec({
    ...shell(`(${eat}); echo child gone; sleep 1000`),
    memoryBytes: (24 * MiB) as Bytes,
  });
  await begin(runtime, child);
  await eventually('the event', () => events.some((one) => one.type === 'oom' && one.uid === child.uid));
  expect(await runtime.recover(child.uid, signal)).toMatchObject({ state: 'running' });
  const init = bed.spec({ ...shell(eat), memoryBytes: (24 * MiB) as Bytes });
  await begin(runtime, init);
  expect(await endOf(init.uid)).toMatchObject({ reason: 'oom' });
  stop.abort();
  await removed(child.uid);
  await removed(init.uid);
});

test.each([false, true])(
  'a disk limit holds for all that it writes (user namespace: %s)',
  async (userNamespace) => {
    const spec = bed.spec({
      ...shell('sleep 1000'),
      diskBytes: (16 * MiB) as Bytes,
      security: { ...MAPPED, userNamespace },
    });
    await begin(runtime, spec);
    const { stdout, stderr } = await inside(
      spec.uid,
      'dd if=/dev/zero of=/data/big bs=1M count=64; echo code $?',
    );
    expect(stdout + stderr).toContain('No space left on device');
    expect(stdout).toContain('code 1');
    expect((await runtime.stats(spec.uid, signal)).diskBytes).toBeLessThanOrEqual(16 * MiB);
    await removed(spec.uid);
    const tiny = bed.spec({ diskBytes: 4096 as Bytes });
    await expect(runtime.apply({ do: 'create', spec: tiny }, signal)).rejects.toMatchObject({
      code: 'unsupported',
    });
  },
);

test.each([false, true])(
  'volumes are the host’s folders, read-only where asked (user namespace: %s)',
  async (userNamespace) => {
    const folder = mkdtempSync(join(tmpdir(), 'skerry-volume-'));
    try {
      writeFileSync(join(folder, 'from-host'), 'hello');
      const spec = bed.spec({
        ...shell('sleep 1000'),
        security: { readOnlyRoot: true, capabilities: [], userNamespace },
        volumes: [
          { name: 'v', hostPath: folder, mount: '/srv/v', readOnly: false },
          { name: 'r', hostPath: folder, mount: '/r', readOnly: true },
        ],
      });
      await begin(runtime, spec);
      const { stdout } = await inside(
        spec.uid,
        'cat /srv/v/from-host; echo; echo back > /srv/v/back; touch /r/x 2>/dev/null; echo ro $?; touch /x 2>/dev/null; echo root $?; touch /tmp/x; echo tmp $?',
      );
      expect(stdout).toBe('hello\nro 1\nroot 1\ntmp 0\n');
      expect(readFileSync(join(folder, 'back'), 'utf8')).toBe('back\n');
      expect(statSync(join(folder, 'back')).uid).toBe(0); // as the volume sees it, whoever mounts it next
      await removed(spec.uid);
      const climbing = bed.spec({
        volumes: [{ name: 'v', hostPath: folder, mount: '/../etc', readOnly: false }],
      });
      await expect(runtime.apply({ do: 'create', spec: climbing }, signal)).rejects.toMatchObject({
        code: 'unsupported',
      });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);

test('a volume whose place is a link of the image stays in the guest', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-volume-'));
  try {
    const spec = bed.spec({
      ...shell('sleep 1000'),
      volumes: [{ name: 'v', hostPath: folder, mount: '/outward/v', readOnly: false }],
    });
    await begin(runtime, spec);
    await inside(spec.uid, 'touch /outward/v/mark');
    expect(statSync(join(folder, 'mark')).isFile()).toBe(true);
    await removed(spec.uid);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('a command inside has input, two outputs, its code, its environment, and the guest’s rights', async () => {
  const spec = bed.spec({ ...shell('sleep 1000'), env: { COLOUR: 'green' } });
  await begin(runtime, spec);
  const session = await runtime.exec!.exec(
    spec.uid,
    {
      command: ['/bin/sh', '-c', 'cat; echo $COLOUR $SIZE; echo bad >&2; exit 5'],
      terminal: false,
      env: { SIZE: 'big' },
    },
    signal,
  );
  await session.write(Buffer.from('given '));
  await session.closeInput();
  const text = { stdout: '', stderr: '' };
  for await (const { stream, data } of session.output) text[stream] += Buffer.from(data).toString();
  expect(text).toEqual({ stdout: 'given green big\n', stderr: 'bad\n' });
  expect(await session.exit).toBe(5);
  const rights = await inside(
    spec.uid,
    'grep -E "Cap(Eff|Bnd)|Seccomp:" /proc/self/status; mknod /dev/sda b 8 0; head -c 1 /dev/sda',
  );
  const effective = BigInt(`0x${/CapEff:\s+(\w+)/.exec(rights.stdout)![1]}`);
  for (const bit of [16n, 17n, 25n, 32n, 33n, 34n]) expect((effective >> bit) & 1n).toBe(0n); // capability.h
  expect(rights.stdout).toContain('Seccomp:\t2');
  expect(rights.code).not.toBe(0);
  expect(rights.stderr).toMatch(/not permitted|denied/i);
  await removed(spec.uid);
});

test('a command on a terminal sees its size change, and is ended', async () => {
  const spec = bed.spec(shell('sleep 1000'));
  await begin(runtime, spec);
  const session = await runtime.exec!.exec(
    spec.uid,
    { command: ['/bin/sh'], terminal: true, columns: 91, rows: 33 },
    signal,
  );
  let text = '';
  const read = (async () => {
    for await (const { data } of session.output) text += Buffer.from(data).toString();
  })();
  await session.write(Buffer.from('tty; stty size\n'));
  await eventually('its size', () => text.includes('33 91'));
  await session.resize(120, 40);
  await eventually('its new size', async () => {
    await session.write(Buffer.from('stty size\n'));
    return text.includes('40 120');
  });
  await session.kill();
  await read;
  expect(await session.exit).not.toBe(0);
  await eventually(
    'its shell is gone',
    async () => !(await inside(spec.uid, 'ps')).stdout.match(/\d root +\d+:\d+ \/bin\/sh$/m),
  );
  await removed(spec.uid);
});

test('the console takes and gives; who goes away, or does not read, does not stop the guest', async () => {
  const spec = bed.spec(shell('while read line; do echo "heard $line"; done'));
  await begin(runtime, spec);
  const first = new AbortController();
  await runtime.console!.open(spec.uid, first.signal); // never read
  first.abort();
  const { output, write } = await runtime.console!.open(spec.uid, signal);
  await write(Buffer.from('one\n'));
  let text = '';
  for await (const data of output) {
    text += Buffer.from(data).toString();
    if (text.includes('heard one')) break;
  }
  await eventually('it is in the log too', async () =>
    (await logText(runtime, spec.uid)).includes('heard one'),
  );
  await removed(spec.uid);
});

test.each(['monitor', 'supervisor'])(
  'its %s killed: the guest ends with it, is judged, and all of it goes',
  async (which) => {
    const spec = bed.spec(shell('sleep 1000'));
    const init = processRef(pidOf(await begin(runtime, spec)))!;
    const stop = new AbortController();
    const events = heard(stop.signal);
    const own = folderOf(spec.uid).supervisors();
    const monitors = processesWithArgument(spec.uid).filter(({ pid }) => !own.some((one) => one.pid === pid));
    expect(own).toHaveLength(1);
    expect(monitors.length).toBeGreaterThan(0);
    for (const ref of which === 'monitor' ? monitors : own) await endProcess(ref, 0);
    const exit = await endOf(spec.uid);
    expect(['signal', 'vanished']).toContain(exit.reason);
    await eventually('init is gone', () => processRef(init.pid)?.startTicks !== init.startTicks);
    await eventually('it is told', () => events.some((one) => one.type === 'exited' && one.uid === spec.uid));
    stop.abort();
    await removed(spec.uid);
  },
);

test('a guest that may hold containers mounts what these need', async () => {
  const spec = bed.spec({ ...shell('sleep 1000'), security: MAPPED, system: { nesting: true } });
  await begin(runtime, spec);
  const nested = await inside(spec.uid, 'unshare -Urmpf sh -c "mount -t proc proc /proc && ps | head -3"');
  expect(nested).toMatchObject({ code: 0 });
  await removed(spec.uid);
});

test('what can not be had is refused by create and leaves nothing', async () => {
  const cases: Partial<GuestSpec>[] = [
    { security: { ...MAPPED, capabilities: ['CAP_SYS_MODULE'] } },
    { env: { A: 'one\nlxc.rootfs.path = dir:/' } },
    { security: { ...MAPPED, user: 'somebody' } },
  ];
  for (const change of cases) {
    const spec = bed.spec(change);
    await expect(runtime.apply({ do: 'create', spec }, signal)).rejects.toMatchObject({
      code: 'unsupported',
    });
    expect(await bed.leftovers(spec.uid)).toEqual([]);
  }
  const lost = bed.spec({ system: { init: '/sbin/nowhere', nesting: false } });
  await expect(begin(runtime, lost)).rejects.toMatchObject({ code: 'guest_start_failed' });
  await removed(lost.uid);
});

test('the probe tried ids of their own', async () => {
  const findings = await runtime.probe(signal);
  expect(findings.map(({ name }) => name)).toEqual([
    'system',
    'system.userNamespace',
    'system.cgroup',
    'system.nesting',
  ]);
});

test('an unpacked image goes with its last guest once the image is gone, and not before', async () => {
  const digest = await bed.importRoot('::sysinit:/bin/echo another\n');
  const folder = join(bed.identity.dataDir, 'system-images', digest.replace(':', '-'));
  const [one, two, three] = [1, 2, 3].map(() => bed.spec({ ...shell('sleep 1000'), imageDigest: digest }));
  await begin(runtime, one!);
  await begin(runtime, two!);
  await removed(one!.uid);
  await bed.images.collect(new Set([bed.digest]));
  expect(existsSync(folder)).toBe(true);
  expect((await inside(two!.uid, 'cat /etc/inittab')).stdout).toContain('another');
  await removed(two!.uid);
  expect(existsSync(folder)).toBe(false);
  await expect(runtime.apply({ do: 'create', spec: three! }, signal)).rejects.toMatchObject({
    code: 'image_not_found',
  });
});
