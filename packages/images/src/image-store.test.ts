// What the store promises whatever the image: nothing needed is collected, nothing half done stays, restarts change nothing.
import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { archiveEntries, buildBusyboxArchive, tarOf, testImage, writeTar } from '@skerry/testkit';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createImageStore } from './image-store.ts';
import type { ImageStore } from './port.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-images-'));
const busybox = join(folder, 'busybox.tar');
const signal = new AbortController().signal;
let next = 0;
let dataDir: string;
let images: ImageStore;

beforeAll(async () => void (await buildBusyboxArchive(busybox)));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(async () => {
  dataDir = join(folder, `data-${next++}`);
  images = await createImageStore({ dataDir });
});

const list = (name: string, of = dataDir) => readdirSync(join(of, 'images', name));
/** A layer that only this image has. */
async function small(content: string): Promise<string> {
  const path = join(folder, `small-${next++}.tar`);
  await writeTar(
    path,
    archiveEntries(testImage([await tarOf([{ name: 'file', body: content }])]), 'small:1', 'oci'),
  );
  return path;
}
const importDigest = async (path: string, store = images) =>
  (await store.importFile(path, { signal }))[0]!.facts.digest;

test('a collection keeps what is needed, also blobs that a needed image shares with one that goes', async () => {
  const kept = await importDigest(busybox);
  const more = join(folder, 'more.tar');
  await buildBusyboxArchive(more, { files: { 'srv/data': 'x'.repeat(50_000) } });
  const gone = await importDigest(more);
  const freed = await images.collect(new Set([kept]));
  expect(freed).toBeGreaterThan(50_000);
  expect(freed).toBeLessThan(100_000); // the layer of busybox stays
  expect([await images.has(kept), await images.has(gone)]).toEqual([true, false]);
  await expect(images.facts(gone)).rejects.toMatchObject({ code: 'image_not_found' });
  expect(await images.collect(new Set([kept]))).toBe(0);
  expect(await images.collect(new Set())).toBeGreaterThan(1_000_000);
  expect([...list('blobs/sha256'), ...list('records')]).toEqual([]);
});

test('a collection beside imports takes nothing away from them', async () => {
  const paths = await Promise.all(['one', 'two', 'three', 'four'].map(small));
  let over = false;
  const collecting = (async () => {
    while (!over) {
      await images.collect(new Set(list('records').map((name) => `sha256:${name.slice(0, 64)}`)));
      await new Promise(setImmediate);
    }
  })();
  try {
    const digests = await Promise.all(paths.map((path) => importDigest(path)));
    for (const digest of digests) expect(await images.has(digest)).toBe(true);
  } finally {
    over = true;
    await collecting;
  }
});

test('an image that lost a blob is told to be missing, and an import brings it back', async () => {
  const digest = await importDigest(busybox);
  rmSync(images.blobPath(digest));
  expect(await images.has(digest)).toBe(false);
  await importDigest(busybox);
  expect(await images.has(digest)).toBe(true);
});

test('after a restart the images are there, and what a crash left half written is gone', async () => {
  const digest = await importDigest(busybox);
  const partial = (name: string) => join(dataDir, 'images/partial', name.repeat(64));
  writeFileSync(join(dataDir, 'images/staging/half'), 'x');
  writeFileSync(join(dataDir, 'images/blobs/sha256', 'e'.repeat(64)), 'named by no record');
  writeFileSync(join(dataDir, 'images/records', `${'d'.repeat(64)}.json.123.new`), '{');
  writeFileSync(partial('a'), 'today');
  writeFileSync(partial('b'), 'long ago');
  utimesSync(partial('b'), 1000, 1000);
  const again = await createImageStore({ dataDir });
  expect(await again.has(digest)).toBe(true);
  expect(await again.facts(digest)).toEqual(await images.facts(digest));
  expect([list('staging'), list('partial'), list('records').length, list('blobs/sha256').length]).toEqual([
    [],
    ['a'.repeat(64)],
    1,
    3,
  ]);
});

test('a damaged record is told, and as long as it is there nothing is collected', async () => {
  const digest = await importDigest(busybox);
  const path = join(dataDir, 'images/records', list('records')[0]!);
  writeFileSync(path, readFileSync(path, 'utf8').slice(0, 50));
  const again = await createImageStore({ dataDir });
  await expect(again.facts(digest)).rejects.toMatchObject({
    code: 'image_invalid',
    message: expect.stringMatching(/damaged/),
  });
  await expect(again.collect(new Set([digest]))).rejects.toMatchObject({ code: 'image_invalid' });
  expect(list('blobs/sha256')).toHaveLength(3);
  await importDigest(busybox, again);
  expect((await again.facts(digest)).kind).toBe('container');
});

test('blobs can be read by the process of a guest, whatever the umask', async () => {
  const before = process.umask(0o077);
  try {
    const facts = await images.createFunction('export const handle = () => 1;', 'one.js');
    expect(statSync(images.blobPath(facts.digest)).mode & 0o777).toBe(0o644);
  } finally {
    process.umask(before);
  }
});

test('a function is stored as ES5 and says what it exports and where it came from', async () => {
  const source = 'export const handle = ({ path }: { path: string }) => ["you asked for", path].join();';
  const facts = await images.createFunction(source, '/home/ada/hello.ts');
  expect(facts).toMatchObject({
    kind: 'function',
    source: 'function: hello.ts',
    facts: { exports: ['handle'], engine: 'duktape 2.7', sourceBytes: Buffer.byteLength(source) },
  });
  expect(readFileSync(images.blobPath(facts.digest), 'utf8')).toMatch(/exports\.handle = handle;/);
  await expect(images.createFunction(`//${'x'.repeat(1 << 20)}`, 'f.js')).rejects.toMatchObject({
    code: 'function_invalid',
    message: expect.stringMatching(/more than 1048576/),
  });
});

test('a kernel needs a name, for it has none of its own', async () => {
  await expect(images.importFile('/bin/busybox', { signal })).rejects.toMatchObject({
    code: 'image_invalid',
  });
  const pebble = new URL('../../../guests/pebble/', import.meta.url).pathname;
  execFileSync('make', ['-s', '-C', pebble]);
  const kernel = join(pebble, 'build/pebble.elf');
  await expect(images.importFile(kernel, { signal })).rejects.toMatchObject({ code: 'request_invalid' });
  expect(list('blobs/sha256')).toEqual([]);
  const [image] = await images.importFile(kernel, { reference: 'pebble:1', signal });
  expect(image).toMatchObject({
    reference: 'pebble:1',
    facts: { kind: 'unikernel', facts: { boot: 'pvh' } },
  });
});

test.skipIf(process.getuid?.() !== 0)(
  'a full disk is told, leaves nothing half done, and what fits is stored afterwards (needs root to mount)',
  async () => {
    const disk = join(folder, 'disk');
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk]);
    try {
      const tight = await createImageStore({ dataDir: disk });
      await expect(tight.importFile(busybox, { signal })).rejects.toMatchObject({ code: 'disk_full' });
      expect(['staging', 'blobs/sha256', 'records'].flatMap((name) => list(name, disk))).toEqual([]);
      expect(await tight.has(await importDigest(await small('fits'), tight))).toBe(true);
    } finally {
      execFileSync('umount', [disk]);
    }
  },
);
