// A folder, packed by who has it, becomes the same image as the folder itself would; what is no image is not packed.
import { createWriteStream, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { archiveEntries, tarOf, testImage } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BlobStore } from './content/blob-store.ts';
import { folderKind, packFolder } from './folder.ts';
import { createImageStore } from './image-store.ts';
import type { ImageStore } from './port.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-folder-'));
const { signal } = new AbortController();
let images: ImageStore;
let next = 0;
beforeAll(async () => {
  images = await createImageStore({ dataDir: join(folder, 'data') });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, files: Readonly<Record<string, Uint8Array | string>>): string {
  const path = join(folder, name);
  for (const [file, body] of Object.entries(files)) {
    mkdirSync(dirname(join(path, file)), { recursive: true });
    writeFileSync(join(path, file), body);
  }
  return path;
}
async function layout(): Promise<string> {
  const image = testImage([await tarOf([{ name: 'etc/motd', body: 'welcome' }])]);
  const entries = archiveEntries(image, 'layout:1', 'oci').map(({ name, body }) => [name, body!]);
  return write(`layout-${next++}`, Object.fromEntries(entries));
}
/** By way of a file, as an upload is taken. */
async function packed(path: string): Promise<string> {
  const file = join(folder, `upload-${next++}`);
  await pipeline(await packFolder(path, signal), createWriteStream(file));
  return file;
}
const digests = async (path: string, reference?: string) =>
  (await images.importFile(path, { signal, ...(reference === undefined ? {} : { reference }) })).map(
    ({ reference: name, facts }) => [name, facts.kind, facts.digest],
  );

test('an OCI layout: the same image by the same name; what else lies in the folder stays there', async () => {
  const path = await layout();
  writeFileSync(join(path, 'notes.txt'), 'x');
  symlinkSync('/etc/shadow', join(path, 'elsewhere'));
  expect(await folderKind(path)).toBe('layout');
  const own = await digests(path);
  expect(own).toMatchObject([['layout:1', 'container', expect.stringMatching(/^sha256:/)]]);
  expect(await digests(await packed(path))).toEqual(own);
});

test('a link among its blobs is refused by who takes it', async () => {
  const path = await layout();
  symlinkSync('/etc/shadow', join(path, 'blobs/sha256', 'f'.repeat(64)));
  await expect(digests(await packed(path))).rejects.toMatchObject({ code: 'image_invalid' });
});

test('a root file system: the same bytes, links and all; a socket in it is passed over', async () => {
  const program = Buffer.alloc(64);
  program.write('\x7fELF\x02\x01\x01', 'latin1');
  program.writeUInt16LE(3, 16);
  program.writeUInt16LE(process.arch === 'arm64' ? 183 : 62, 18);
  const path = write('root', { 'bin/busybox': program, 'etc/hostname': 'box', 'sbin/note': '' });
  symlinkSync('/bin/busybox', join(path, 'sbin/init'));
  const listener = createServer().listen(join(path, 'etc/socket'));
  await new Promise((resolve) => listener.once('listening', resolve));
  try {
    expect(await folderKind(path)).toBe('rootfs');
    const own = await digests(path, 'box:1');
    expect(own).toMatchObject([['box:1', 'rootfs', expect.stringMatching(/^sha256:/)]]);
    expect(await digests(await packed(path), 'box:1')).toEqual(own);
  } finally {
    listener.close();
  }
});

test('another folder is not packed, and a program that fails is told', async () => {
  const other = write('other', { 'readme.txt': 'x' });
  await expect(packFolder(other, signal)).rejects.toMatchObject({
    code: 'image_invalid',
    message: expect.stringContaining('neither an OCI layout'),
  });
  const cut = await layout();
  const stream = await packFolder(cut, signal);
  rmSync(cut, { recursive: true });
  const blobs = new BlobStore(join(folder, 'cut'));
  await blobs.start();
  await expect(blobs.stage(stream, signal)).rejects.toMatchObject({ code: 'host_command_failed' });
});
