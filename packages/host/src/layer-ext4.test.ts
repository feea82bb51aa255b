// The disk of a guest is there in full from the beginning, or it is not made.
import { existsSync, mkdtempSync, rmSync, statfsSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { makeLayerExt4 } from './layer-ext4.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-layer-'));
const { signal } = new AbortController();
const SIZE = 24 * 1024 * 1024;
afterAll(() => rmSync(folder, { recursive: true }));

test('its space is taken when it is made', async () => {
  const path = join(folder, 'layer');
  await makeLayerExt4(path, SIZE, signal);
  const { size, blocks } = statSync(path);
  expect(size).toBe(SIZE);
  expect(blocks * 512).toBeGreaterThanOrEqual(SIZE);
});

test('more than there is room for is refused with the numbers, and nothing is taken', async () => {
  const path = join(folder, 'large');
  const { bavail, bsize } = statfsSync(folder);
  const size = Math.ceil((bavail * bsize * 1.5) / 1024 ** 2) * 1024 ** 2;
  await expect(makeLayerExt4(path, size, signal)).rejects.toMatchObject({
    code: 'disk_full',
    message: expect.stringMatching(/needs .* more, .* has .* left/),
  });
  expect(existsSync(path)).toBe(false);
});
