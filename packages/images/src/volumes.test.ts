import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { identityOf, loopsOver, mountsBelow } from '@skerry/host';
import { newId } from '@skerry/model';
import { afterAll, describe, expect, test } from 'vitest';
import { createVolumes } from './volumes.ts';

const MIB = 1024 * 1024;
const folder = mkdtempSync(join(tmpdir(), 'skerry-volumes-'));
const volumes = createVolumes(identityOf('0a0b0c0d', folder));
const signal = new AbortController().signal;
const root = process.getuid?.() === 0;
const imageOf = (uid: string) => join(folder, 'volumes', uid, 'disk.img');
afterAll(async () => {
  await volumes.unmountAll(signal);
  rmSync(folder, { recursive: true, force: true });
});

describe.skipIf(!root)('volumes (need root to mount)', () => {
  test('a volume holds no more than its size, keeps its data, grows, and goes without a trace', async () => {
    const uid = newId<'volume'>();
    const [path, again] = await Promise.all([
      volumes.ensure({ uid, sizeBytes: 8 * MIB }, signal),
      volumes.ensure({ uid, sizeBytes: 8 * MIB }, signal),
    ]);
    expect(again).toBe(path);
    expect(mountsBelow(folder)).toHaveLength(1);
    expect(statSync(imageOf(uid)).blocks * 512).toBeGreaterThanOrEqual(8 * MIB);
    writeFileSync(join(path, 'kept'), 'data');
    expect(() => writeFileSync(join(path, 'large'), Buffer.alloc(16 * MIB))).toThrow(/ENOSPC/);
    rmSync(join(path, 'large'));
    await volumes.unmountAll(signal);
    expect(mountsBelow(folder)).toEqual([]);
    await volumes.ensure({ uid, sizeBytes: 32 * MIB }, signal);
    expect(readFileSync(join(path, 'kept'), 'utf8')).toBe('data');
    expect(statSync(imageOf(uid)).blocks * 512).toBeGreaterThanOrEqual(32 * MIB);
    writeFileSync(join(path, 'large'), Buffer.alloc(16 * MIB));
    await volumes.remove(uid, signal);
    await volumes.remove(uid, signal);
    expect(mountsBelow(folder)).toEqual([]);
    expect(existsSync(join(folder, 'volumes', uid))).toBe(false);
  });

  test('what was cut off goes on: half an image is made again, half a growth is ended', async () => {
    const uid = newId<'volume'>();
    mkdirSync(join(folder, 'volumes', uid), { recursive: true });
    writeFileSync(`${imageOf(uid)}.new`, 'half');
    const path = await volumes.ensure({ uid, sizeBytes: 8 * MIB }, signal);
    writeFileSync(join(path, 'kept'), 'data');
    await volumes.unmountAll(signal);
    truncateSync(imageOf(uid), 32 * MIB); // the file grew, and then the power went
    await volumes.ensure({ uid, sizeBytes: 32 * MIB }, signal);
    writeFileSync(join(path, 'large'), Buffer.alloc(16 * MIB));
    expect(readFileSync(join(path, 'kept'), 'utf8')).toBe('data');
    await volumes.remove(uid, signal);
  });

  test('a data folder that is reached by a link is mounted once, and removal leaves what the link of a guest leads to', async () => {
    const link = `${folder}-link`;
    symlinkSync(folder, link);
    const outside = join(folder, 'outside');
    writeFileSync(outside, 'not ours to remove');
    try {
      const linked = createVolumes(identityOf('0a0b0c0d', link));
      const uid = newId<'volume'>();
      const path = await linked.ensure({ uid, sizeBytes: 4 * MIB }, signal);
      await linked.ensure({ uid, sizeBytes: 4 * MIB }, signal);
      expect(mountsBelow(folder)).toHaveLength(1);
      symlinkSync(outside, join(path, 'leads-out'));
      await linked.remove(uid, signal);
      expect(mountsBelow(folder)).toEqual([]);
      expect(readFileSync(outside, 'utf8')).toBe('not ours to remove');
    } finally {
      rmSync(link);
    }
  });

  test('as the disk of a virtual machine it is mounted nowhere, keeps what containers wrote, and grows', async () => {
    const uid = newId<'volume'>();
    const path = await volumes.ensure({ uid, sizeBytes: 8 * MIB }, signal);
    writeFileSync(join(path, 'kept'), 'data');
    const disk = await volumes.ensureDisk({ uid, sizeBytes: 16 * MIB }, signal);
    expect(disk).toBe(imageOf(uid));
    expect(mountsBelow(folder)).toEqual([]);
    expect(loopsOver(disk)).toEqual([]);
    expect(statSync(disk).size).toBe(16 * MIB);
    const inside = execFileSync('debugfs', ['-R', 'cat /data/kept', disk], {
      encoding: 'utf8',
      stdio: 'pipe',
    });
    expect(inside).toBe('data');
    expect(await volumes.ensureDisk({ uid, sizeBytes: 16 * MIB }, signal)).toBe(disk);
    expect(
      readFileSync(join(await volumes.ensure({ uid, sizeBytes: 16 * MIB }, signal), 'kept'), 'utf8'),
    ).toBe('data');
    await volumes.remove(uid, signal);
  });

  test('a fresh one is made for a virtual machine; one that it has formatted anew grows by its end alone', async () => {
    const uid = newId<'volume'>();
    const disk = await volumes.ensureDisk({ uid, sizeBytes: 4 * MIB }, signal);
    execFileSync('e2fsck', ['-fn', disk], { stdio: 'ignore' });
    writeFileSync(disk, Buffer.alloc(4 * MIB, 'x'));
    await volumes.ensureDisk({ uid, sizeBytes: 6 * MIB }, signal);
    expect(
      readFileSync(disk)
        .subarray(0, 4 * MIB)
        .equals(Buffer.alloc(4 * MIB, 'x')),
    ).toBe(true);
    expect(statSync(disk).size).toBe(6 * MIB);
    await volumes.remove(uid, signal);
  });

  test('a volume in use by a container is no disk, and the disk of a running machine is mounted for no container', async () => {
    const uid = newId<'volume'>();
    const path = await volumes.ensure({ uid, sizeBytes: 8 * MIB }, signal);
    const inside = mkdtempSync(join(tmpdir(), 'skerry-inside-'));
    // As a container has it: the folder mounted in a mount namespace of its own.
    const script = 'mount --bind "$0" "$1" && echo ready && read line';
    const guest = spawn(
      'unshare',
      ['--mount', '--propagation', 'private', 'sh', '-c', script, path, inside],
      {
        stdio: ['pipe', 'pipe', 'inherit'],
      },
    );
    try {
      await once(guest.stdout, 'data');
      await expect(volumes.ensureDisk({ uid, sizeBytes: 8 * MIB }, signal)).rejects.toMatchObject({
        code: 'in_use',
        message: expect.stringMatching(/mounted for a container/),
      });
      expect(mountsBelow(folder)).toHaveLength(1);
    } finally {
      guest.stdin.end();
      await once(guest, 'exit');
      rmSync(inside, { recursive: true });
    }
    const disk = await volumes.ensureDisk({ uid, sizeBytes: 8 * MIB }, signal);
    const machine = spawn('qemu-io', ['-f', 'raw', disk], { stdio: ['pipe', 'pipe', 'inherit'] });
    try {
      machine.stdin.write('write 0 1\n');
      await once(machine.stdout, 'data');
      await expect(volumes.ensure({ uid, sizeBytes: 8 * MIB }, signal)).rejects.toMatchObject({
        code: 'in_use',
        message: expect.stringMatching(/disk of a virtual machine/),
      });
      // Asked for again while it runs, and larger: it stays as it is.
      expect(await volumes.ensureDisk({ uid, sizeBytes: 16 * MIB }, signal)).toBe(disk);
      expect(statSync(disk).size).toBe(8 * MIB);
    } finally {
      machine.stdin.end('quit\n');
      await once(machine, 'exit');
    }
    await volumes.ensure({ uid, sizeBytes: 8 * MIB }, signal);
    await volumes.remove(uid, signal);
  });

  test('a volume that the disk can not hold is refused with the numbers, and nothing of it stays', async () => {
    const disk = mkdtempSync(join(tmpdir(), 'skerry-small-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk]);
    try {
      const uid = newId<'volume'>();
      const tight = createVolumes(identityOf('0a0b0c0e', disk));
      await expect(tight.ensure({ uid, sizeBytes: 64 * MIB }, signal)).rejects.toMatchObject({
        code: 'disk_full',
        message: expect.stringMatching(/needs 64 ?MiB more.* left/),
      });
      expect(mountsBelow(disk)).toEqual([disk]);
      await tight.remove(uid, signal);
      expect(existsSync(join(disk, 'volumes', uid))).toBe(false);
    } finally {
      execFileSync('umount', [disk]);
      rmSync(disk, { recursive: true });
    }
  });
});

test('a uid that is none reaches no path', async () => {
  for (const uid of ['..', '../../etc', '', 'A'.repeat(26)] as never[])
    await expect(volumes.remove(uid, signal)).rejects.toMatchObject({ code: 'internal' });
});
