import { execFileSync } from 'node:child_process';
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
import { identityOf, mountsBelow } from '@skerry/host';
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
    expect(statSync(imageOf(uid)).blocks * 512).toBeLessThan(4 * MIB);
    writeFileSync(join(path, 'kept'), 'data');
    expect(() => writeFileSync(join(path, 'large'), Buffer.alloc(16 * MIB))).toThrow(/ENOSPC/);
    rmSync(join(path, 'large'));
    await volumes.unmountAll(signal);
    expect(mountsBelow(folder)).toEqual([]);
    await volumes.ensure({ uid, sizeBytes: 32 * MIB }, signal);
    expect(readFileSync(join(path, 'kept'), 'utf8')).toBe('data');
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
