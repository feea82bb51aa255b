// A Docker engine: the same guest as on containerd, on a network that is Skerry's; an engine that goes away and returns.
import { existsSync, readFileSync } from 'node:fs';
import { cgroupFolder, run as runHost } from '@skerry/host';
import type { Id, Millis } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createContainerdRuntime } from '../containerd/runtime.ts';
import { logText, run, shell } from '../containerd/testing/world.ts';
import type { GuestEvent, GuestSpec, Runtime } from '../port.ts';
import { EngineApi, type Inspected } from './engine-api.ts';
import { containerName, imageName } from './names.ts';
import { type DockerBed, makeDockerBed } from './testing/bed.ts';

const MiB = 1024 * 1024;
const signal = AbortSignal.timeout(300_000);
let bed: DockerBed;
let runtime: Runtime;
beforeAll(async () => {
  bed = await makeDockerBed();
  runtime = bed.open();
  await runtime.start(signal);
});
afterAll(async () => {
  await runtime.stop();
  await runtime.destroy(signal);
  await bed.close();
});

const remove = async (uid: Id<'instance'>) => {
  await runtime.apply({ do: 'remove', uid }, signal);
  expect(await bed.leftovers(uid)).toEqual([]);
};
const exitOf = (uid: Id<'instance'>) =>
  eventually('it ends', async () => {
    const state = await runtime.recover(uid, signal);
    return state.state === 'exited' && state.exit;
  });

/** What a guest sees of itself, for both engines. */
const LOOK = [
  'echo env $GREETING $FROM_IMAGE $HOSTNAME; pwd; id -u; hostname',
  'grep -E "^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):" /proc/self/status',
  'cat /etc/resolv.conf; grep guest-0 /etc/hosts',
  'touch /x 2>/dev/null && echo writable || echo read-only; touch /tmp/x && echo scratch',
  'cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ls -d /sys/fs/cgroup; ulimit -n',
  'cat /data/word; touch /data/y 2>/dev/null || echo no writing there',
].join('; ');

test.each([
  ['as it comes', {}],
  [
    'with a user, a read-only root and a capability',
    { readOnlyRoot: true, user: '1000', capabilities: ['CAP_NET_RAW'] },
  ],
])('a guest sees the same on this engine as on containerd: %s', async (_name, security) => {
  const folder = `${bed.identity.dataDir}/volume`;
  await runHost('sh', ['-c', `mkdir -p ${folder}; echo a-word > ${folder}/word`], {
    signal,
    timeoutMs: 5000,
  });
  const change: Partial<GuestSpec> = {
    ...shell(LOOK),
    env: { GREETING: 'hello' },
    workingDir: '/tmp',
    volumes: [{ name: 'data', hostPath: folder, mount: '/data', readOnly: true }],
    security: { readOnlyRoot: false, capabilities: [], userNamespace: false, ...security },
  };
  const spec = await bed.guest(change);
  await run(runtime, spec);
  expect(await exitOf(spec.uid)).toMatchObject({ reason: 'completed' });
  const here = await logText(runtime, spec.uid);
  const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined };
  const other = createContainerdRuntime({ identity: bed.identity, images: bed.images, logger: quiet });
  await other.start(signal);
  try {
    const twin = { ...(await bed.guest(change)), name: spec.name };
    await run(other, twin);
    await eventually('it ends', async () => (await other.recover(twin.uid, signal)).state === 'exited');
    const address = new RegExp(`${spec.network!.address}|${twin.network!.address}`, 'g');
    const plain = (text: string) =>
      text
        .replace(address, 'A')
        .replace(/[ \t]+/g, ' ')
        .split('\n')
        .filter(Boolean);
    expect(plain(here)).toEqual(plain(await logText(other, twin.uid)));
    await other.apply({ do: 'remove', uid: twin.uid }, signal);
    await bed.leftovers(twin.uid);
  } finally {
    await other.stop();
    await other.destroy(signal);
  }
  await remove(spec.uid);
});

test('limits are those of the manifest, and running out of memory is told as such', async () => {
  const heard: GuestEvent[] = [];
  const stop = new AbortController();
  const events = runtime.events(stop.signal);
  const listening = (async () => {
    for await (const event of events) heard.push(event);
  })();
  const spec = await bed.guest({
    ...shell('tail /dev/zero'),
    memoryBytes: (16 * MiB) as never,
    cpus: 0.5,
    pids: 20,
  });
  await runtime.apply({ do: 'create', spec }, signal);
  await runtime.apply({ do: 'start', uid: spec.uid }, signal);
  expect(await exitOf(spec.uid)).toMatchObject({
    reason: 'oom',
    message: 'used more than its 16MiB of memory',
  });
  await eventually('it is told', () => heard.find(({ type }) => type === 'exited'));
  stop.abort();
  await listening;
  await remove(spec.uid);
  const calm = await bed.guest({ ...shell('exec sleep 1000'), cpus: 0.5, pids: 20 });
  await run(runtime, calm);
  const api = new EngineApi(bed.engine.socketPath);
  const { Id } = await api.call<Inspected>(
    'GET',
    `/containers/${containerName(bed.identity.id, calm.uid)}/json`,
  );
  await api.close();
  const limit = (controller: string, file: string) =>
    readFileSync(`${cgroupFolder(`${bed.identity.cgroup}/${Id}`, controller)}/${file}`, 'utf8').trim();
  const is = existsSync('/sys/fs/cgroup/cgroup.controllers')
    ? [limit('', 'cpu.max'), limit('', 'pids.max')]
    : [`${limit('cpu', 'cpu.cfs_quota_us')} ${limit('cpu', 'cpu.cfs_period_us')}`, limit('pids', 'pids.max')];
  expect(is).toEqual(['50000 100000', '20']);
  await runtime.apply({ do: 'stop', uid: calm.uid, graceMs: 0 as Millis }, signal);
  await remove(calm.uid);
});

test('it is on the network that was prepared for it, and its interface goes with it', async () => {
  const spec = await bed.guest(shell('echo served > /tmp/index.html; exec httpd -f -p 80 -h /tmp'));
  await run(runtime, spec);
  const netns = `${bed.identity.netnsPrefix}${spec.uid}`;
  const inside = await runHost('ip', ['-n', netns, '-o', '-4', 'address', 'show', 'eth0'], {
    signal,
    timeoutMs: 5000,
  });
  expect(inside.stdout).toContain(`${spec.network!.address}/16`);
  const got = await eventually('it serves', () =>
    runHost(
      'ip',
      ['netns', 'exec', netns, 'busybox', 'wget', '-q', '-O', '-', `http://${spec.network!.address}/`],
      {
        signal,
        timeoutMs: 5000,
      },
    ).catch(() => undefined),
  );
  expect(got?.stdout).toBe('served\n');
  await remove(spec.uid);
});

test('commands run beside it, with and without a terminal', async () => {
  const spec = await bed.guest(shell('exec sleep 1000'));
  await run(runtime, spec);
  const plain = await runtime.exec!.exec(
    spec.uid,
    { command: ['sh', '-c', 'cat; echo err >&2; exit 7'], terminal: false },
    signal,
  );
  await plain.write(Buffer.from('in and out\n'));
  await plain.closeInput();
  const seen: string[] = [];
  for await (const { stream, data } of plain.output) seen.push(`${stream} ${Buffer.from(data)}`);
  expect(seen.sort()).toEqual(['stderr err\n', 'stdout in and out\n']);
  expect(await plain.exit).toBe(7);
  const terminal = await runtime.exec!.exec(
    spec.uid,
    {
      command: ['sh', '-c', 'read line; stty size; exec sleep 1000'],
      terminal: true,
      columns: 111,
      rows: 22,
    },
    signal,
  );
  await terminal.write(Buffer.from('go\n'));
  let text = '';
  for await (const { data } of terminal.output) {
    text += Buffer.from(data).toString();
    if (/\d+ \d+\r?\n/.test(text)) break;
  }
  expect(text).toContain('22 111');
  await terminal.kill();
  expect(await terminal.exit).toBe(137);
  const none = runtime.exec!.exec(spec.uid, { command: ['no-such-program'], terminal: false }, signal);
  const failed = await none.then(
    (session) => session.exit,
    (error) => error.code as string,
  );
  expect([126, 127, 'exec_failed']).toContain(failed);
  await remove(spec.uid);
});

test('what it prints is kept in lines and bounded, however much it is', async () => {
  const spec = await bed.guest(
    shell(
      'head -c 40000 /dev/zero | tr "\\0" x; echo; i=0; while [ $i -lt 40 ]; do yes 0123456789abcdef | head -c 1000000; i=$((i+1)); done; echo the end',
    ),
  );
  await run(runtime, spec);
  await exitOf(spec.uid);
  let bytes = 0;
  let last = '';
  for await (const { text } of runtime.logs(spec.uid, {}, signal)) {
    bytes += text.length;
    last = text;
  }
  expect(bytes).toBeLessThan(12 * MiB);
  expect(last).toMatch(/the end$/);
  await remove(spec.uid);
});

test('its image is given to the engine once, and taken away when it is gone', async () => {
  const api = new EngineApi(bed.engine.socketPath);
  const name = imageName(bed.identity.id, bed.images.digest);
  const has = () =>
    api.call('GET', `/images/${encodeURIComponent(name)}/json`).then(
      () => true,
      () => false,
    );
  const specs = await Promise.all([bed.guest(shell('true')), bed.guest(shell('true'))]);
  await Promise.all(specs.map((spec) => runtime.apply({ do: 'create', spec }, signal)));
  expect(await has()).toBe(true);
  for (const { uid } of specs) await remove(uid);
  await api.close();
});

test('what this engine can not do is refused with a remedy', async () => {
  const base = await bed.guest(shell('true'));
  const mapped = { ...base, security: { ...base.security, userNamespace: true } };
  await expect(runtime.apply({ do: 'create', spec: mapped }, signal)).rejects.toMatchObject({
    code: 'unsupported',
  });
  const small = { ...base, diskBytes: (64 * MiB) as never };
  await expect(runtime.apply({ do: 'create', spec: small }, signal)).rejects.toMatchObject({
    code: 'unsupported',
  });
  expect(await bed.leftovers(base.uid)).toEqual([]);
});

test('an engine that is killed and comes back finds its guests as they were', async () => {
  const spec = await bed.guest(shell('trap "exit 0" TERM; while true; do sleep 0.05; done'));
  const state = await run(runtime, spec);
  const events = runtime.events(signal)[Symbol.asyncIterator]();
  const next = events.next();
  next.catch(() => undefined);
  await bed.engine.kill();
  await expect(next).rejects.toMatchObject({ code: 'engine_unavailable' });
  await expect(runtime.recover(spec.uid, signal)).rejects.toMatchObject({ code: 'engine_unavailable' });
  const findings = await runtime.probe(signal);
  expect(findings[0]).toMatchObject({ name: 'container', ok: false });
  await bed.engine.start();
  await runtime.start(signal);
  expect(await runtime.recover(spec.uid, signal)).toMatchObject({
    state: 'running',
    pid: state.state === 'running' && state.pid,
  });
  const stopped = await runtime.apply({ do: 'stop', uid: spec.uid, graceMs: 5000 as Millis }, signal);
  expect(stopped).toMatchObject({ state: 'exited', exit: { reason: 'stopped' } });
  await remove(spec.uid);
});
