// A Docker engine: the same guest as on containerd, on a network that is Skerry's; an engine that goes away and returns.
import { existsSync, readFileSync } from 'node:fs';
import { cgroupFolder, cgroupOf } from '@skerry/host';
import type { Id, Millis } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run, shell } from '../containerd/testing/world.ts';
import type { GuestEvent, Runtime } from '../port.ts';
import { EngineApi } from './engine-api.ts';
import { imageName } from './names.ts';
import { createDockerRuntime } from './runtime.ts';
import { type DockerBed, makeDockerBed } from './testing/bed.ts';
import { startDockerd } from './testing/dockerd.ts';
import { startPodman } from './testing/podman.ts';

const MiB = 1024 * 1024;
const quiet = { info: () => undefined, warn: () => undefined };
const signal = AbortSignal.timeout(300_000);
describe.each([
  ['Docker', startDockerd],
  ['Podman', startPodman],
])('%s', (engine, begin) => {
  let bed: DockerBed;
  let runtime: Runtime;
  beforeAll(async () => {
    bed = await makeDockerBed(begin);
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

  test('limits are those of the manifest, and running out of memory is told as such', async () => {
    const findings = await runtime.probe(signal);
    const seesMemory = findings.find(({ name }) => name === 'container.outOfMemory')?.ok === true;
    expect(seesMemory || engine === 'Podman').toBe(true);
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
    expect(await exitOf(spec.uid)).toMatchObject(
      seesMemory
        ? { reason: 'oom', message: 'used more than its 16MiB of memory' }
        : { reason: 'signal', signal: 'SIGKILL' },
    );
    await eventually('it is told', () => heard.find(({ type }) => type === 'exited'));
    // the engine's two words come in either order
    if (seesMemory) {
      const oom = await eventually('of the memory, too', () => heard.find(({ type }) => type === 'oom'));
      expect(oom).toMatchObject({ uid: spec.uid });
    }
    stop.abort();
    await listening;
    await remove(spec.uid);
    const calm = await bed.guest({ ...shell('exec sleep 1000'), cpus: 0.5, pids: 20 });
    const state = await run(runtime, calm);
    const pid = state.state === 'running' ? state.pid : 0;
    const limit = (controller: string, file: string) =>
      readFileSync(`${cgroupFolder(cgroupOf(pid, controller)!, controller)}/${file}`, 'utf8').trim();
    const is = existsSync('/sys/fs/cgroup/cgroup.controllers')
      ? [limit('', 'cpu.max'), limit('', 'pids.max')]
      : [
          `${limit('cpu', 'cpu.cfs_quota_us')} ${limit('cpu', 'cpu.cfs_period_us')}`,
          limit('pids', 'pids.max'),
        ];
    expect(is).toEqual(['50000 100000', '20']);
    await runtime.apply({ do: 'stop', uid: calm.uid, graceMs: 0 as Millis }, signal);
    await remove(calm.uid);
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

  test('its image is given to the engine once, and taken away when the image room and the last guest are done with it', async () => {
    const api = new EngineApi(bed.engine.socketPath);
    const path = `/images/${encodeURIComponent(imageName(bed.identity.id, bed.images.digest))}/json`;
    const has = () =>
      api.call('GET', path).then(
        () => true,
        () => false,
      );
    const sinceS = Math.floor(Date.now() / 1000);
    await runtime.stop();
    await runtime.destroy(signal); // what other tests gave is gone with it
    expect(await has()).toBe(false);
    runtime = bed.open();
    await runtime.start(signal);
    const specs = await Promise.all([1, 2, 3].map(() => bed.guest(shell('true'))));
    await Promise.all(specs.slice(1).map((spec) => runtime.apply({ do: 'create', spec }, signal)));
    await runtime.apply({ do: 'create', spec: specs[0]! }, signal);
    const filters = JSON.stringify({ type: ['image'], event: ['load'] });
    const query = { filters, since: sinceS, until: (Date.now() / 1000).toFixed(3) };
    const loads = await api.text('GET', '/events', { query });
    expect(loads.split('\n')).toHaveLength(1);
    await remove(specs[0]!.uid);
    expect(await has()).toBe(true); // the image room has it: the next start is quick
    const { has: known } = bed.images;
    bed.images.has = async () => false;
    await remove(specs[1]!.uid);
    expect(await has()).toBe(true); // the last guest needs it
    await remove(specs[2]!.uid);
    expect(await has()).toBe(false);
    bed.images.has = known;
    await api.close();
  });

  test('an image whose layer is gone from the image room is refused as such', async () => {
    const { blobPath } = bed.images;
    bed.images.blobPath = () => '/nonexistent';
    const spec = await bed.guest(shell('true'));
    await expect(runtime.apply({ do: 'create', spec }, signal)).rejects.toMatchObject({
      code: 'image_not_found',
    });
    bed.images.blobPath = blobPath;
    await remove(spec.uid);
  });

  test('a program that ends with the code 255 failed by itself; nobody lost sight of it', async () => {
    const spec = await bed.guest(shell('exit 255'));
    await run(runtime, spec);
    expect(await exitOf(spec.uid)).toMatchObject({ reason: 'error', code: 255 });
    await remove(spec.uid);
  });

  test('where another engine was chosen, this one is not taken, and it is said which answers', async () => {
    const only = engine === 'Docker' ? 'podman' : 'docker';
    const { identity, images } = bed;
    const { socketPath } = bed.engine;
    const other = createDockerRuntime({ identity, images, logger: quiet, socketPath, only });
    const said = new RegExp(`was chosen, and ${engine} [0-9.]+.* answers at ${socketPath}`);
    await expect(other.start(signal)).rejects.toMatchObject({
      code: 'engine_unavailable',
      message: expect.stringMatching(said),
    });
    expect(await other.probe(signal)).toMatchObject([
      { name: 'container', level: 'missing', text: expect.stringMatching(said) },
    ]);
    await expect(other.apply({ do: 'create', spec: await bed.spec('steady') }, signal)).rejects.toMatchObject(
      {
        code: 'engine_unavailable',
      },
    );
    await other.stop();
    const findings = await runtime.probe(signal);
    expect(findings[0]).toMatchObject({
      name: 'container',
      text: expect.stringContaining(`${engine} engine`),
    });
    expect(findings[1]).toMatchObject({ name: 'container.proved', level: 'ok' });
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
});
