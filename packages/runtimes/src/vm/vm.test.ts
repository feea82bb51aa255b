// Virtual machines on real QEMU, from disks of one boot sector: what only this runtime promises.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { processesWithArgument, run } from '@skerry/host';
import type { Bytes, Id, Millis, SkerryError } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { GuestEvent, GuestSpec, GuestState, Runtime } from '../port.ts';
import { diskOf, vmFolder } from './record.ts';
import { makeVmBed, type VmBed } from './testing/bed.ts';
import { bootDisk, type SectorEnd } from './testing/boot-sector.ts';
import { exitOf, lineOf, linesOf } from './testing/lines.ts';

const MiB = 1024 * 1024;
const signal = new AbortController().signal;
let bed: VmBed;
let runtime: Runtime;

beforeAll(async () => {
  bed = makeVmBed();
  runtime = bed.open();
  await runtime.start(signal);
});
afterAll(async () => {
  await runtime.stop();
  await runtime.destroy(signal);
  expect(await bed.close()).toEqual([]);
});

const specOf = (end: SectorEnd, changes: Partial<GuestSpec> = {}, sizeBytes = MiB) =>
  bed.spec(bed.images.add(bootDisk('it has started', end, sizeBytes), 'disk'), changes);
const running = (state: GuestState) => state as Extract<GuestState, { state: 'running' }>;
const boot = async (spec: GuestSpec) => {
  await runtime.apply({ do: 'create', spec }, signal);
  return running(await runtime.apply({ do: 'start', uid: spec.uid }, signal));
};
const remove = async ({ uid }: GuestSpec) => {
  await runtime.apply({ do: 'remove', uid }, signal);
  expect(await bed.leftovers(uid)).toEqual([]);
};
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'done',
    (error: SkerryError) => error.code,
  );
const letters = async (uid: Id<'instance'>) =>
  (await linesOf(runtime, uid)).filter((line) => line.length === 1).join('');

test('its disk lies over the image and is its own: it outlives an end, and the image stays as it was', async () => {
  const spec = specOf('starts');
  const digestOf = () =>
    createHash('sha256')
      .update(readFileSync(bed.images.blobPath(spec.imageDigest)))
      .digest('hex');
  await boot(spec);
  let state: GuestState = { state: 'exited', incarnation: 'one', exit: await exitOf(runtime, spec.uid) };
  expect(state.exit).toMatchObject({ reason: 'completed' });
  for (const step of runtime.plan(spec, state, spec.uid, 0 as Millis))
    state = await runtime.apply(step, signal);
  await exitOf(runtime, spec.uid);
  expect(await letters(spec.uid)).toBe('AB');
  expect(spec.imageDigest).toBe(`sha256:${digestOf()}`);
  const other = { ...spec, uid: bed.spec(spec.imageDigest).uid };
  await boot(other);
  await exitOf(runtime, other.uid);
  expect(await letters(other.uid)).toBe('A');
  await remove(spec);
  await remove(other);
});

test('one that holds still is told as such, also to a runtime that starts anew, and goes on', async () => {
  const spec = specOf('count');
  await boot(spec);
  await lineOf(runtime, spec.uid, /^C$/);
  await runtime.pause!.pause(spec.uid, signal);
  await runtime.pause!.pause(spec.uid, signal);
  expect(await runtime.recover(spec.uid, signal)).toMatchObject({ paused: { why: 'asked' } });
  await runtime.stop();
  runtime = bed.open();
  await runtime.start(signal);
  expect(await runtime.recover(spec.uid, signal)).toMatchObject({ paused: { why: 'asked' } });
  const before = await letters(spec.uid);
  await runtime.pause!.resume(spec.uid, signal);
  await eventually('it counts on', async () =>
    (await letters(spec.uid)).startsWith(`${before}${after(before)}`),
  );
  expect(running(await runtime.recover(spec.uid, signal)).paused).toBeUndefined();
  await remove(spec);
  expect(await codeOf(runtime.pause!.pause(spec.uid, signal))).toBe('guest_not_running');
});

const after = (text: string) => String.fromCharCode(text.charCodeAt(text.length - 1) + 1);

test('a snapshot with memory brings it back to where it was, and it goes on from there', async () => {
  const spec = specOf('count');
  await boot(spec);
  await lineOf(runtime, spec.uid, /^C$/);
  const { snapshot } = runtime;
  const taken = await snapshot!.take(spec.uid, 'before', signal);
  expect(taken).toMatchObject({ name: 'before', withMemory: true });
  expect(Math.abs(taken.takenAtMs - Date.now())).toBeLessThan(60_000);
  expect(await snapshot!.list(spec.uid, signal)).toEqual([taken]);
  expect(await codeOf(snapshot!.take(spec.uid, 'before', signal))).toBe('conflict');
  const then = (await letters(spec.uid)).length;
  await eventually('it counts on', async () => (await letters(spec.uid)).length > then + 15);
  await snapshot!.restore(spec.uid, 'before', signal);
  await eventually('a letter comes again', async () => {
    const all = await letters(spec.uid);
    return [...all].some((letter, at) => at > then && letter.charCodeAt(0) < all.charCodeAt(at - 1));
  });
  expect(running(await runtime.recover(spec.uid, signal)).paused).toBeUndefined();
  await snapshot!.remove(spec.uid, 'before', signal);
  await snapshot!.remove(spec.uid, 'before', signal);
  expect(await snapshot!.list(spec.uid, signal)).toEqual([]);
  expect(await codeOf(snapshot!.restore(spec.uid, 'before', signal))).toBe('not_found');
  expect(await codeOf(snapshot!.take(spec.uid, '1', signal))).toBe('request_invalid');
  await remove(spec);
});

test('the disk of one that does not run can be kept and put back', async () => {
  const spec = specOf('starts');
  await boot(spec);
  await exitOf(runtime, spec.uid);
  expect(await runtime.snapshot!.take(spec.uid, 'first', signal)).toMatchObject({ withMemory: false });
  const again = async () => {
    await runtime.apply({ do: 'create', spec }, signal);
    await runtime.apply({ do: 'start', uid: spec.uid }, signal);
    await exitOf(runtime, spec.uid);
  };
  await again();
  await runtime.snapshot!.restore(spec.uid, 'first', signal);
  await again();
  expect(await letters(spec.uid)).toBe('ABB');
  await remove(spec);
});

test('the screen is spoken to on a socket of its own, and looked at as a picture', async () => {
  const spec = specOf('button', { display: true });
  await boot(spec);
  await lineOf(runtime, spec.uid, 'it has started');
  const greet = (path: string) =>
    new Promise<string>((resolve, reject) => {
      const socket = connect(path, () => undefined);
      socket.once('error', reject);
      socket.once('data', (data) => {
        resolve(data.toString());
        socket.destroy();
      });
    });
  const path = await runtime.display!.socket(spec.uid, signal);
  expect(await Promise.all([greet(path), greet(path)])).toEqual(['RFB 003.008\n', 'RFB 003.008\n']);
  for (let look = 0; look < 2; look++) {
    const picture = await runtime.display!.screenshot(spec.uid, signal);
    expect(Buffer.from(picture).subarray(1, 4).toString()).toBe('PNG');
    expect(Buffer.from(picture).subarray(-8, -4).toString()).toBe('IEND');
  }
  await remove(spec);
});

test('without a display there is none to look at', async () => {
  const spec = specOf('halt');
  await boot(spec);
  expect(await codeOf(runtime.display!.screenshot(spec.uid, signal))).toBe('unsupported');
  expect(await codeOf(runtime.display!.socket(spec.uid, signal))).toBe('unsupported');
  await remove(spec);
});

test('its disk grows, running or not, and never shrinks', async () => {
  const spec = specOf('halt', { diskBytes: (4 * MiB) as Bytes });
  const size = async () => {
    const path = diskOf(vmFolder(bed.identity, spec.uid));
    const { stdout } = await run('/usr/bin/qemu-img', ['info', '-U', '--output=json', path], {
      ...{ signal, timeoutMs: 10_000 },
    });
    return (JSON.parse(stdout) as { 'virtual-size': number })['virtual-size'] / MiB;
  };
  await runtime.apply({ do: 'create', spec }, signal);
  expect(await size()).toBe(4);
  const { growDisk } = runtime.resize!;
  await growDisk(spec.uid, (5 * MiB) as Bytes, signal);
  expect(await size()).toBe(5);
  await runtime.apply({ do: 'start', uid: spec.uid }, signal);
  await growDisk(spec.uid, (6 * MiB) as Bytes, signal);
  await growDisk(spec.uid, (6 * MiB) as Bytes, signal);
  expect(await size()).toBe(6);
  expect(await codeOf(growDisk(spec.uid, MiB as Bytes, signal))).toBe('request_invalid');
  await remove(spec);
});

test('a guest that prints without end and that nobody reads runs on, and its log stays bounded', async () => {
  const spec = specOf('chatter');
  await boot(spec);
  await lineOf(runtime, spec.uid, /lines were dropped/);
  expect(await runtime.recover(spec.uid, signal)).toMatchObject({ state: 'running' });
  expect((await linesOf(runtime, spec.uid)).join('\n').length).toBeLessThan(11 * MiB);
  await remove(spec);
}, 120_000);

test('what is typed on the serial console reaches the guest, and several may look on', async () => {
  const spec = specOf('echo');
  await boot(spec);
  await lineOf(runtime, spec.uid, 'it has started');
  const done = new AbortController();
  const [one, other] = await Promise.all([0, 1].map(() => runtime.console!.open(spec.uid, done.signal)));
  const heard = async (output: AsyncIterable<Uint8Array>) => {
    let text = '';
    for await (const data of output) {
      text += Buffer.from(data).toString();
      if (text.includes('hello')) return true;
    }
    return false;
  };
  const both = [heard(one!.output), heard(other!.output)];
  await one!.write(Buffer.from('hello'));
  expect(await Promise.all(both)).toEqual([true, true]);
  done.abort();
  await remove(spec);
});

test('a supervisor that is killed does not take its guest along', async () => {
  const spec = specOf('button');
  const { pid } = await boot(spec);
  const supervisor = Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]);
  process.kill(supervisor, 'SIGKILL');
  expect(await runtime.recover(spec.uid, signal)).toMatchObject({ state: 'running', pid });
  const stopped = await runtime.apply({ do: 'stop', uid: spec.uid, graceMs: 5000 as Millis }, signal);
  expect(stopped).toMatchObject({ state: 'exited', exit: { reason: 'stopped' } });
  await remove(spec);
});

test('QEMU runs as a user that can gain nothing, in the groups of its guest, with nothing listening of its own', async () => {
  const spec = specOf('halt', { vm: { secureBoot: false, tpm: true, cpuModel: 'portable' } });
  const { pid } = await boot(spec);
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  expect(status).toMatch(/^Uid:\t64042\t64042\t64042\t64042$/m);
  expect(status).toMatch(/^CapEff:\t0+$/m);
  expect(status).toMatch(/^NoNewPrivs:\t1$/m);
  expect(status).toMatch(/^Seccomp:\t2$/m);
  expect(readFileSync(`/proc/${pid}/cgroup`, 'utf8')).toContain(`${bed.identity.cgroup}/${spec.uid}`);
  await remove(spec);
});

test('a TPM runs beside the guest that asks for one, keeps its state over a restart, and goes with it', async () => {
  const spec = specOf('button', { vm: { secureBoot: false, tpm: true, cpuModel: 'host' } });
  await boot(spec);
  await lineOf(runtime, spec.uid, 'it has started');
  const programs = () =>
    processesWithArgument(`guest=${spec.uid}`).map(({ pid }) =>
      readFileSync(`/proc/${pid}/comm`, 'utf8').trim(),
    );
  expect(programs().sort()).toEqual(['qemu-system-x86', 'skerry-run', 'swtpm']);
  const stop = { do: 'stop', uid: spec.uid, graceMs: 5000 as Millis } as const;
  expect(await runtime.apply(stop, signal)).toMatchObject({ exit: { reason: 'stopped' } });
  await eventually('the TPM ends with its guest', () => programs().length === 0);
  await runtime.apply({ do: 'create', spec }, signal);
  await runtime.apply({ do: 'start', uid: spec.uid }, signal);
  expect(programs()).toContain('swtpm');
  await remove(spec);
});

test('a command in a guest without an agent is an error that says what to do', async () => {
  const spec = specOf('halt');
  await boot(spec);
  const request = { command: ['/bin/true'], terminal: false };
  const error = await runtime.exec!.exec(spec.uid, request, signal).then(
    () => undefined,
    (thrown: SkerryError) => thrown,
  );
  expect(error).toMatchObject({ code: 'guest_unresponsive' });
  expect(error!.message).toMatch(/qemu-guest-agent/);
  expect(await codeOf(runtime.exec!.exec(spec.uid, { ...request, terminal: true }, signal))).toBe(
    'unsupported',
  );
  await remove(spec);
});

test('an empty disk starts from the CD of an installation', async () => {
  const folder = vmFolder(bed.identity, 'iso' as Id<'instance'>);
  folder.make();
  const { writeFileSync } = await import('node:fs');
  writeFileSync(`${folder.data}/boot.img`, bootDisk('the installation starts', 'off', 2048));
  const words = ['-as', 'mkisofs', '-quiet', '-b', 'boot.img', '-no-emul-boot', '-boot-load-size', '4'];
  await run('/usr/bin/xorriso', [...words, '-o', `${folder.run}/cd.iso`, folder.data], {
    ...{ signal, timeoutMs: 20_000 },
  });
  const digest = bed.images.add(readFileSync(`${folder.run}/cd.iso`), 'iso', { format: 'iso' });
  folder.remove();
  const spec = bed.spec(digest, { diskBytes: (8 * MiB) as Bytes });
  await boot(spec);
  await lineOf(runtime, spec.uid, 'the installation starts');
  await remove(spec);
});

test('a disk that names files of the host is refused before anything opens it', async () => {
  const qcow2 = (change: (header: Buffer) => void) => {
    const header = Buffer.alloc(64 * 1024);
    header.write('QFI\xfb', 'latin1');
    header.writeUInt32BE(3, 4);
    header.writeUInt32BE(16, 20);
    header.writeBigUInt64BE(BigInt(MiB), 24);
    header.writeUInt32BE(104, 100);
    change(header);
    return bed.images.add(header, 'disk', { format: 'qcow2' });
  };
  const backed = qcow2((header) => {
    header.writeBigUInt64BE(0x200n, 8);
    header.writeUInt32BE(11, 16);
    header.write('/etc/shadow', 0x200);
  });
  const external = qcow2((header) => header.writeBigUInt64BE(4n, 72));
  for (const digest of [backed, external]) {
    const spec = bed.spec(digest);
    const create = runtime.apply({ do: 'create', spec }, signal);
    await expect(create).rejects.toMatchObject({ code: 'image_invalid' });
    expect(await bed.leftovers(spec.uid)).toEqual([]);
  }
});

test('a cloud-config that is no YAML is refused before the guest is made, without repeating it', async () => {
  const cloudInit = { userData: '#cloud-config\nusers:\n  - name: "secret\n', sshKeys: [] };
  const spec = specOf('halt', { vm: { secureBoot: false, tpm: false, cpuModel: 'portable', cloudInit } });
  const error = await runtime.apply({ do: 'create', spec }, signal).then(
    () => undefined,
    (thrown: SkerryError) => thrown,
  );
  expect(error).toMatchObject({ code: 'request_invalid' });
  expect(error!.message).toMatch(/line \d/);
  expect(error!.message).not.toMatch(/secret/);
  expect(await bed.leftovers(spec.uid)).toEqual([]);
});

test('a full disk makes it hold still and is told; it goes on by itself when there is room again', async () => {
  const guests = `${bed.identity.dataDir}/guests`;
  const limits = { signal, timeoutMs: 10_000 };
  await run('mkdir', ['-p', guests], limits);
  await run('mount', ['-t', 'tmpfs', '-o', 'size=48m', 'tmpfs', guests], limits);
  const stop = new AbortController();
  const heard: GuestEvent[] = [];
  const listening = (async () => {
    for await (const event of runtime.events(stop.signal)) heard.push(event);
  })();
  try {
    const { writeFileSync, rmSync } = await import('node:fs');
    writeFileSync(`${guests}/other`, Buffer.alloc(32 * MiB));
    const spec = specOf('fill', {}, 24 * MiB);
    await boot(spec);
    await eventually('it holds still', () => heard.some((event) => event.type === 'paused'));
    expect(await runtime.recover(spec.uid, signal)).toMatchObject({ paused: { why: 'disk-full' } });
    await runtime.stop();
    runtime = bed.open();
    await runtime.start(signal);
    expect(await runtime.recover(spec.uid, signal)).toMatchObject({ paused: { why: 'disk-full' } });
    rmSync(`${guests}/other`);
    await lineOf(runtime, spec.uid, 'written');
    expect(await exitOf(runtime, spec.uid)).toMatchObject({ reason: 'completed' });
    await remove(spec);
  } finally {
    stop.abort();
    await listening;
    await run('umount', ['-l', guests], limits);
  }
});
