import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { identityOf } from '@skerry/host';
import { newId } from '@skerry/model';
import { afterAll, expect, test } from 'vitest';
import { createVolumes } from './volumes.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-volumes-'));
const volumes = createVolumes(identityOf('0a0b0c0d', folder));
const signal = new AbortController().signal;
const root = process.getuid?.() === 0;
const mounted = () => readFileSync('/proc/self/mounts', 'utf8').includes(folder);
afterAll(async () => {
  await volumes.unmountAll(signal);
  rmSync(folder, { recursive: true, force: true });
});

test.skipIf(!root)(
  'a volume holds no more than its size, keeps its data, grows, and goes without a trace (needs root to mount)',
  async () => {
    const uid = newId<'volume'>();
    const [path, again] = await Promise.all([
      volumes.ensure({ uid, sizeBytes: 8 * 1024 * 1024 }, signal),
      volumes.ensure({ uid, sizeBytes: 8 * 1024 * 1024 }, signal),
    ]);
    expect(again).toBe(path);
    writeFileSync(join(path, 'kept'), 'data');
    expect(() => writeFileSync(join(path, 'large'), Buffer.alloc(16 * 1024 * 1024))).toThrow(/ENOSPC/);
    rmSync(join(path, 'large'));
    await volumes.unmountAll(signal);
    expect(mounted()).toBe(false);
    await volumes.ensure({ uid, sizeBytes: 32 * 1024 * 1024 }, signal);
    expect(readFileSync(join(path, 'kept'), 'utf8')).toBe('data');
    writeFileSync(join(path, 'large'), Buffer.alloc(16 * 1024 * 1024));
    await volumes.remove(uid, signal);
    expect(mounted()).toBe(false);
    expect(statSync(join(folder, 'volumes', uid), { throwIfNoEntry: false })).toBeUndefined();
  },
);
