// Unikernels as others pack them into container images: kraft (Unikraft), urunc, runh (Hermit). Made here, file by file.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import {
  archiveEntries,
  descriptorOf,
  digestOf,
  elfFile,
  type TarEntry,
  type TestBlob,
  type TestImage,
  tarOf,
  testImage,
  UNIKERNEL_FILES,
  writeTar,
} from '@skerry/testkit';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { createImageStore } from '../../image-store.ts';
import type { ImageStore } from '../../port.ts';
import { FakeRegistry } from '../../registry/testing/fake-registry.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-packaging-'));
const signal = AbortSignal.timeout(60_000);
let next = 0;
let images: ImageStore;
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(async () => {
  images = await createImageStore({ dataDir: join(folder, `data-${next++}`) });
});

const UNIKRAFT = UNIKERNEL_FILES['Unikraft for QEMU']!();
const CPIO = Buffer.from('070701'.padEnd(512, '0'));

const blobOf = (content: object, mediaType: string): TestBlob => {
  const data = Buffer.from(JSON.stringify(content));
  return { digest: digestOf(data), data, mediaType };
};
const edited = (
  image: TestImage,
  changes: { config?: object; manifest?: object; layers?: readonly object[] },
): TestImage => {
  const config = blobOf(
    { ...JSON.parse(image.config.data.toString()), ...changes.config },
    image.config.mediaType,
  );
  const before = JSON.parse(image.manifest.data.toString()) as { layers: object[] };
  const layers = before.layers.map((layer, i) => ({ ...layer, ...changes.layers?.[i] }));
  const manifest = blobOf(
    { ...before, config: descriptorOf(config), layers, ...changes.manifest },
    image.manifest.mediaType,
  );
  return { ...image, config, manifest };
};

/** As `kraft pkg` does: one tar for each file, named by its annotation. */
async function kraftImage(os = 'qemu', architecture = 'x86_64', withInitrd = true): Promise<TestImage> {
  const tars = [await tarOf([{ name: '/unikraft/bin/kernel', body: UNIKRAFT }])];
  if (withInitrd) tars.push(await tarOf([{ name: '/unikraft/bin/initrd', body: CPIO }]));
  const image = testImage(tars, { cmd: ['/nginx', '-c', '/etc/nginx.conf'], env: ['MODE=edge'] });
  return edited(image, {
    config: { os, architecture },
    manifest: { annotations: { 'sh.kraftkit.version': '0.11.6', 'org.unikraft.kernel.version': '0.16.3' } },
    layers: [
      { annotations: { 'org.unikraft.kernel.image': '/unikraft/bin/kernel' } },
      { annotations: { 'org.unikraft.kernel.initrd': '/unikraft/bin/initrd' } },
    ],
  });
}

async function imported(image: TestImage, entries?: TarEntry[]) {
  const path = join(folder, `${next++}.tar`);
  await writeTar(path, entries ?? archiveEntries(image, 'uk:1', 'oci'));
  const [one] = await images.importFile(path, { reference: 'uk:1', signal });
  return one!.facts;
}
const facts = async (image: TestImage, entries?: TarEntry[]) =>
  (await imported(image, entries)).facts as Record<string, unknown> & { kernel: string; initrd: string };

/** An archive with several platforms of one image. */
function indexOf(list: readonly { image: TestImage; os: string; architecture: string }[]): TarEntry[] {
  const blobs = list.flatMap(({ image }) => [image.config, ...image.layers, image.manifest]);
  const manifests = list.map(({ image, os, architecture }) => ({
    ...descriptorOf(image.manifest),
    platform: { os, architecture },
  }));
  return [
    ...blobs.map((one) => ({ name: `blobs/${one.digest.replace(':', '/')}`, body: one.data })),
    { name: 'index.json', body: JSON.stringify({ schemaVersion: 2, manifests }) },
  ];
}

describe('kraft', () => {
  test('kernel, first file system, words and variables come out of the layers', async () => {
    const image = await kraftImage();
    const record = await imported(image);
    expect(record).toMatchObject({ kind: 'unikernel', digest: image.manifest.digest, arch: 'amd64' });
    expect(record.facts).toMatchObject({
      ...{ family: 'unikraft', boot: 'multiboot', runnable: true, packaging: 'kraft', hypervisor: 'qemu' },
      ...{ command: ['/nginx', '-c', '/etc/nginx.conf'], env: ['MODE=edge'] },
      ...{ kernel: digestOf(UNIKRAFT), initrd: digestOf(CPIO) },
    });
    expect(readFileSync(images.blobPath(digestOf(UNIKRAFT))).equals(UNIKRAFT)).toBe(true);
    expect(await images.has(record.digest)).toBe(true);
    expect(await images.collect(new Set([record.digest]))).toBe(0);
    expect(existsSync(images.blobPath(digestOf(CPIO)))).toBe(true);
    await images.collect(new Set());
    expect(existsSync(images.blobPath(digestOf(CPIO)))).toBe(false);
  });

  test('of several platforms the one for QEMU is taken', async () => {
    const [qemu, fc] = [await kraftImage('qemu'), await kraftImage('fc')];
    const entries = indexOf([
      { image: fc, os: 'fc', architecture: 'x86_64' },
      { image: qemu, os: 'qemu', architecture: 'x86_64' },
    ]);
    expect((await imported(qemu, entries)).digest).toBe(qemu.manifest.digest);
  });

  test('only for others it is refused, with what there is', async () => {
    const [fc, xen] = [await kraftImage('fc'), await kraftImage('xen')];
    const entries = indexOf([
      { image: fc, os: 'fc', architecture: 'x86_64' },
      { image: xen, os: 'xen', architecture: 'x86_64' },
    ]);
    await expect(imported(fc, entries)).rejects.toMatchObject({
      code: 'image_invalid',
      message: expect.stringMatching(/fc\/amd64, xen\/amd64; .* for qemu/),
    });
    await expect(imported(fc)).rejects.toThrow(/Unikraft build for fc/);
  });

  test('a first file system is no must', async () => {
    expect((await facts(await kraftImage('qemu', 'x86_64', false))).initrd).toBeUndefined();
  });

  test('it is pulled from a registry as well', async () => {
    const registry = await FakeRegistry.start();
    try {
      const image = await kraftImage();
      registry.add('uk', image);
      const { host } = registry;
      const auth = { username: 'ada', password: 'secret' };
      const record = await images.pull(`${host}/app:uk`, { signal, insecure: true, auth });
      expect(record).toMatchObject({ kind: 'unikernel', digest: image.manifest.digest });
      expect(await images.has(record.digest)).toBe(true);
    } finally {
      registry.stop();
    }
  });
});

describe('urunc', () => {
  const KEYS = {
    'com.urunc.unikernel.unikernelType': 'rumprun',
    'com.urunc.unikernel.hypervisor': 'qemu',
    'com.urunc.unikernel.binary': '/unikernel/app.bin',
    'com.urunc.unikernel.cmdline': 'redis-server /data/redis.conf',
  };
  const kernel = elfFile({ bits: 32, multiboot: 3 });
  const files: TarEntry[] = [{ name: 'unikernel/app.bin', body: kernel }];

  test('by annotations of the manifest', async () => {
    const image = edited(testImage([await tarOf(files)]), { manifest: { annotations: KEYS } });
    expect(await facts(image)).toMatchObject({
      ...{ family: 'rumprun', packaging: 'urunc', hypervisor: 'qemu', kernel: digestOf(kernel) },
      command: ['redis-server', '/data/redis.conf'],
    });
  });

  test('by /urunc.json with its values in base64, in a later layer, compressed', async () => {
    const json = JSON.stringify(
      Object.fromEntries(
        Object.entries(KEYS).map(([key, text]) => [key, Buffer.from(text).toString('base64')]),
      ),
    );
    const tars = [await tarOf(files), await tarOf([{ name: 'urunc.json', body: json }])];
    expect(await facts(testImage(tars, { gzip: true }))).toMatchObject({
      family: 'rumprun',
      packaging: 'urunc',
    });
  });

  test('a Linux kernel with its first file system', async () => {
    const linux = UNIKERNEL_FILES['Linux bzImage']!();
    const annotations = {
      'com.urunc.unikernel.unikernelType': 'linux',
      'com.urunc.unikernel.binary': '/kernel',
      'com.urunc.unikernel.initrd': '/initrd',
      'com.urunc.unikernel.hypervisor': 'qemu',
    };
    const tar = await tarOf([
      { name: 'kernel', body: linux },
      { name: 'initrd', body: CPIO },
    ]);
    const image = edited(testImage([tar], { cmd: ['quiet'] }), { manifest: { annotations } });
    expect(await facts(image)).toMatchObject({
      ...{ family: 'linux', boot: 'linux', runnable: true, command: ['quiet'] },
      initrd: digestOf(CPIO),
    });
  });

  test('what it wants and Skerry does not do is said, and the image taken', async () => {
    const annotations = { ...KEYS, 'com.urunc.unikernel.block': '/data.iso' };
    const image = edited(testImage([await tarOf(files)]), { manifest: { annotations } });
    expect(await facts(image)).toMatchObject({
      runnable: false,
      why: expect.stringContaining('block device'),
    });
  });

  test.each<[string, TarEntry[], object, RegExp]>([
    ['a kernel that is not there', [{ name: 'other', body: 'x' }], KEYS, /lacks \/unikernel\/app.bin/],
    [
      'a kernel that is a link',
      [{ name: 'unikernel/app.bin', type: 'symlink', linkname: '/etc/shadow' }],
      KEYS,
      /lacks/,
    ],
    [
      'a kernel that is none',
      [{ name: 'unikernel/app.bin', body: 'text' }],
      KEYS,
      /neither a container archive/,
    ],
    [
      'no name of a kernel',
      files,
      { 'com.urunc.unikernel.unikernelType': 'unikraft' },
      /and no com.urunc.unikernel.binary/,
    ],
    ['urunc.json that is none', [{ name: 'urunc.json', body: '{' }], {}, /no JSON/],
  ])('%s is refused, and nothing stays', async (_, entries, annotations, words) => {
    const image = edited(testImage([await tarOf(entries)]), { manifest: { annotations } });
    await expect(imported(image)).rejects.toThrow(words);
    expect(await images.collect(new Set())).toBe(0);
  });
});

describe('Hermit', () => {
  const app = UNIKERNEL_FILES['Hermit application']!();
  const loader = elfFile({ bits: 32, multiboot: 0 });

  test('the loader beside the application makes an image that starts', async () => {
    const tar = await tarOf([
      { name: 'hermit/hermit-loader-x86_64', body: loader },
      { name: 'hermit/app', body: app },
    ]);
    expect(await facts(testImage([tar], { cmd: ['/hermit/app', '--port', '80'] }))).toMatchObject({
      ...{ family: 'hermit', runnable: true, hermit: { entryVersion: 4 }, packaging: 'runh' },
      ...{ kernel: digestOf(loader), initrd: digestOf(app), command: ['--port', '80'] },
    });
  });

  test("an image of Hermit's own form is taken and says that the loader is missing", async () => {
    const path = join(folder, `${next++}.tar`);
    const entries = [
      { name: 'hermit.toml', body: 'version = "1"' },
      { name: 'app', body: app },
    ];
    writeFileSync(path, gzipSync(await tarOf(entries)));
    const [one] = await images.importFile(path, { reference: 'hermit:1', signal });
    expect(one!.facts).toMatchObject({
      kind: 'unikernel',
      facts: { family: 'hermit', runnable: false, why: expect.stringContaining('loader') },
    });
  });
});
