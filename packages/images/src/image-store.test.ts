// Real archives: the hello image as built by guests/hello, converted by skopeo, and hostile ones made here.
import { execFileSync } from 'node:child_process';
import { createWriteStream, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { type Pack, pack } from 'tar-stream';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createImageStore } from './image-store.ts';
import type { ImageStore } from './port.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const hello = join(root, 'guests/hello/build/hello.tar');
const folder = mkdtempSync(join(tmpdir(), 'skerry-images-'));
const signal = new AbortController().signal;
let next = 0;
let images: ImageStore;

beforeAll(() => {
  execFileSync('make', ['-s', '-C', join(root, 'guests/hello')]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(async () => {
  images = await createImageStore({ dataDir: join(folder, `data-${next++}`) });
});

async function archive(fill: (tar: Pack) => void): Promise<string> {
  const path = join(folder, `archive-${next++}.tar`);
  const tar = pack();
  fill(tar);
  tar.finalize();
  await pipeline(tar, createWriteStream(path));
  return path;
}
const refusal = (path: string, reference = 'x:1') =>
  images.importFile(path, { reference, signal }).then(
    () => 'accepted',
    (error) => `${error.code}: ${error.message}`,
  );

test('an OCI archive is taken with its name, its command and its layers', async () => {
  const [image] = await images.importFile(hello, { signal });
  expect(image!.reference).toBe('hello:1');
  expect(image!.facts.kind).toBe('container');
  expect(image!.facts.facts).toMatchObject({
    config: { cmd: ['/bin/httpd', '-f', '-p', '8080', '-h', '/var/www'], stopSignal: 'SIGTERM' },
  });
  const { layers } = image!.facts.facts as { layers: { digest: string }[] };
  expect(existsSync(images.blobPath(layers[0]!.digest))).toBe(true);
  expect(await images.has(image!.facts.digest)).toBe(true);
});

test('docker save archives and OCI layout folders give the same layers', async () => {
  const saved = join(folder, 'saved.tar');
  const layout = join(folder, 'layout');
  execFileSync('skopeo', [
    'copy',
    '--insecure-policy',
    '-q',
    `oci-archive:${hello}`,
    `docker-archive:${saved}:hello:2`,
  ]);
  execFileSync('skopeo', [
    'copy',
    '--insecure-policy',
    '-q',
    `oci-archive:${hello}`,
    `oci:${layout}:hello:3`,
  ]);
  const diffIds = async (path: string, reference?: string) => {
    const [image] = await images.importFile(path, { signal, ...(reference ? { reference } : {}) });
    return (image!.facts.facts as { layers: { diffId: string }[] }).layers.map((layer) => layer.diffId);
  };
  const original = await diffIds(hello);
  expect(await diffIds(saved)).toEqual(original);
  expect(await diffIds(layout, 'hello:3')).toEqual(original);
});

test('archives whose names or links lead out are refused, with the entry named', async () => {
  expect(await refusal(await archive((tar) => tar.entry({ name: '../../etc/cron.d/x' }, 'x')))).toMatch(
    /image_invalid.*\.\.\/\.\.\/etc/,
  );
  expect(await refusal(await archive((tar) => tar.entry({ name: '/etc/passwd' }, 'x')))).toMatch(
    /image_invalid.*\/etc\/passwd/,
  );
  expect(
    await refusal(
      await archive((tar) => tar.entry({ name: 'layer.tar', type: 'symlink', linkname: '../../etc/shadow' })),
    ),
  ).toMatch(/image_invalid.*etc\/shadow/);
  expect(
    await refusal(await archive((tar) => tar.entry({ name: 'x', type: 'link', linkname: '/etc/shadow' }))),
  ).toMatch(/image_invalid/);
  expect(await refusal(await archive((tar) => tar.entry({ name: 'dev', type: 'character-device' })))).toMatch(
    /image_invalid/,
  );
});

test('a layer with an entry that climbs out of the root is refused', async () => {
  const { createHash } = await import('node:crypto');
  const layer = readFileSync(await archive((tar) => tar.entry({ name: 'a/../../../etc/evil' }, 'x')));
  const diffId = `sha256:${createHash('sha256').update(layer).digest('hex')}`;
  const arch = process.arch === 'x64' ? 'amd64' : process.arch;
  const config = JSON.stringify({
    architecture: arch,
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: [diffId] },
  });
  const path = await archive((tar) => {
    tar.entry({ name: 'config.json' }, config);
    tar.entry({ name: 'layer.tar' }, layer);
    tar.entry(
      { name: 'manifest.json' },
      JSON.stringify([{ Config: 'config.json', Layers: ['layer.tar'], RepoTags: ['x:1'] }]),
    );
  });
  expect(await refusal(path)).toMatch(/image_invalid: layer 0 .*etc\/evil/);
});

test('a blob that does not have the digest of its name is refused', async () => {
  const path = await archive((tar) => {
    tar.entry({ name: `blobs/sha256/${'0'.repeat(64)}` }, 'not that');
    tar.entry({ name: 'index.json' }, JSON.stringify({ manifests: [] }));
  });
  expect(await refusal(path)).toMatch(/image_digest_mismatch/);
});

test('what is no image says what it is', async () => {
  const text = join(folder, 'text.txt');
  writeFileSync(text, 'hello, I am a text and no image at all');
  expect(await refusal(text)).toMatch(/image_invalid.*not recognised/);
  expect(await refusal('/bin/ls')).toMatch(/image_invalid.*ordinary Linux program/);
  expect(await refusal(await archive((tar) => tar.entry({ name: 'etc/hostname' }, 'x')))).toMatch(
    /image_invalid.*neither index.json/,
  );
  const cut = join(folder, 'cut.tar');
  writeFileSync(cut, readFileSync(hello).subarray(0, 100_000));
  expect(await refusal(cut)).toMatch(/image_invalid/);
});

test('a refused archive leaves no blob, and a collection keeps what is needed', async () => {
  const [image] = await images.importFile(hello, { signal });
  expect(await images.collect(new Set([image!.facts.digest]))).toBe(0);
  expect(await images.has(image!.facts.digest)).toBe(true);
  expect(await images.collect(new Set())).toBeGreaterThan(1_000_000);
  expect(await images.has(image!.facts.digest)).toBe(false);
});

test('a function is stored as ES5 and says what it exports', async () => {
  const facts = await images.createFunction(
    'export const handle = ({ path }: { path: string }) => ["you asked for", path].join();',
    'hello.ts',
  );
  expect(facts).toMatchObject({ kind: 'function', facts: { exports: ['handle'] } });
  expect(readFileSync(images.blobPath(facts.digest), 'utf8')).toMatch(/exports\.handle = handle;/);
});
