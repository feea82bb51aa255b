// Archives in every form that the world hands around, and hostile ones. What is refused leaves nothing behind.
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import {
  archiveEntries,
  buildBusyboxArchive,
  descriptorOf,
  digestOf,
  type TarEntry,
  tarOf,
  testArchitecture,
  testImage,
  writeTar,
} from '@skerry/testkit';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { createImageStore } from '../image-store.ts';
import type { ImageStore } from '../port.ts';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'skerry-import-'));
const signal = new AbortController().signal;
let next = 0;
let dataDir: string;
let images: ImageStore;
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(async () => {
  dataDir = join(folder, `data-${next++}`);
  images = await createImageStore({ dataDir });
});

const fresh = (ending: string) => join(folder, `${next++}${ending}`);
async function archive(entries: readonly TarEntry[]): Promise<string> {
  const path = fresh('.tar');
  await writeTar(path, entries);
  return path;
}
const leftovers = () =>
  ['staging', 'blobs/sha256', 'records', 'partial'].flatMap((name) =>
    readdirSync(join(dataDir, 'images', name)),
  );
/** What the store says to a file that it must not take, after which nothing of it is there. */
async function refusal(path: string, reference: string | undefined = 'x:1'): Promise<string> {
  const said = await images.importFile(path, { ...(reference ? { reference } : {}), signal }).then(
    () => 'accepted',
    (error) => `${error.code}: ${error.message}`,
  );
  expect(leftovers()).toEqual([]);
  return said;
}
const refusalOf = async (entries: readonly TarEntry[]) => refusal(await archive(entries));
/** With one layer of these entries. */
async function refusalOfLayer(entries: readonly TarEntry[]): Promise<string> {
  const image = testImage([await tarOf([{ name: 'first', body: 'x' }]), await tarOf(entries)]);
  return refusalOf(archiveEntries(image, 'x:1', 'docker'));
}
const layersOf = ({ facts }: { facts: { facts: unknown } }) =>
  (facts.facts as { layers: { digest: string; diffId: string; mediaType: string; sizeBytes: number }[] })
    .layers;

describe('forms', () => {
  test('docker save before and since version 25 and OCI archives give the same layers; with a manifest, the same digest', async () => {
    const options = {
      files: { 'srv/index.html': 'hello' },
      cmd: ['/bin/httpd', '-f'],
      user: 'worker',
      gzip: true,
    };
    const built = await buildBusyboxArchive(join(folder, 'oci.tar'), options);
    await buildBusyboxArchive(join(folder, 'docker.tar'), { ...options, form: 'docker' });
    await buildBusyboxArchive(join(folder, 'docker-oci.tar'), { ...options, form: 'docker-oci' });
    const found = [];
    for (const name of ['oci', 'docker', 'docker-oci']) {
      const [image, ...more] = await images.importFile(join(folder, `${name}.tar`), { signal });
      expect(more).toEqual([]);
      found.push(image!);
    }
    const expected = built.layers.map(({ digest, data }) => ({
      digest,
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
      sizeBytes: data.length,
      diffId: expect.stringMatching(/^sha256:/),
    }));
    for (const image of found) {
      expect(image.reference).toBe('busybox:1');
      expect(layersOf(image)).toEqual(expected);
      expect(image.facts.facts).toMatchObject({
        config: { cmd: ['/bin/httpd', '-f'], env: ['PATH=/bin'], user: 'worker' },
      });
      expect(await images.has(image.facts.digest)).toBe(true);
    }
    const [oci, docker, dockerOci] = found.map(({ facts }) => facts.digest);
    expect(oci).toBe(built.manifest.digest);
    expect(dockerOci).toBe(oci);
    expect(docker).toBe(built.config.digest);
  });

  test('what skopeo writes is taken: docker archives, OCI layout folders, a whole archive in gzip', async () => {
    execFileSync('make', ['-s', '-C', join(root, 'guests/hello')]);
    const hello = join(root, 'guests/hello/build/hello.tar');
    const saved = join(folder, 'saved.tar');
    const layout = join(folder, 'layout');
    const copy = (to: string) =>
      execFileSync('skopeo', ['copy', '--insecure-policy', '-q', `oci-archive:${hello}`, to]);
    copy(`docker-archive:${saved}:hello:2`);
    copy(`oci:${layout}:hello:3`);
    writeFileSync(join(folder, 'hello.tar.gz'), gzipSync(readFileSync(hello), { level: 1 }));
    const [original] = await images.importFile(hello, { signal });
    expect(original).toMatchObject({ reference: 'hello:1', facts: { kind: 'container' } });
    expect(existsSync(images.blobPath(layersOf(original!)[0]!.digest))).toBe(true);
    for (const path of [saved, layout, join(folder, 'hello.tar.gz')]) {
      const [image] = await images.importFile(path, { signal });
      expect(layersOf(image!).map(({ diffId }) => diffId)).toEqual(
        layersOf(original!).map(({ diffId }) => diffId),
      );
    }
  });

  test('of an index with several platforms, this node’s is taken; attestations are passed over', async () => {
    const [mine, other] = [testArchitecture(), 's390x'].map(async (arch) =>
      testImage([await tarOf([{ name: arch, body: 'x' }])], { arch }),
    );
    const [here, there] = [await mine!, await other!];
    const list = {
      schemaVersion: 2,
      manifests: [
        { ...descriptorOf(there.manifest), platform: { os: 'linux', architecture: 's390x' } },
        { ...descriptorOf(here.manifest), platform: { os: 'linux', architecture: testArchitecture() } },
        { ...descriptorOf(there.config), platform: { os: 'unknown', architecture: 'unknown' } },
      ],
    };
    const inner = Buffer.from(JSON.stringify(list));
    const blob = (data: Buffer): TarEntry => ({
      name: `blobs/${digestOf(data).replace(':', '/')}`,
      body: data,
    });
    const nested = {
      mediaType: 'application/vnd.oci.image.index.v1+json',
      digest: digestOf(inner),
      size: inner.length,
      annotations: { 'org.opencontainers.image.ref.name': 'app:2' },
    };
    const path = await archive([
      blob(inner),
      ...[here.manifest, here.config, ...here.layers].map(({ data }) => blob(data)),
      { name: 'index.json', body: JSON.stringify({ schemaVersion: 2, manifests: [nested] }) },
    ]);
    const [image] = await images.importFile(path, { signal });
    expect(image).toMatchObject({ reference: 'app:2', facts: { digest: here.manifest.digest } });
    const onlyOther = { ...list, manifests: list.manifests.slice(0, 1) };
    expect(
      await images
        .importFile(await archive([{ name: 'index.json', body: JSON.stringify(onlyOther) }]), { signal })
        .catch((error) => error.message),
    ).toMatch(/nothing for linux\/.*it has linux\/s390x/);
  });

  test('an archive of several images gives each its name, and shares layers that are links', async () => {
    const layer = await tarOf([{ name: 'shared', body: 'x' }]);
    const image = testImage([layer]);
    const path = await archive([
      { name: 'aa/layer.tar', body: layer },
      { name: 'bb/layer.tar', type: 'symlink', linkname: '../aa/layer.tar' },
      { name: 'cc/layer.tar', type: 'link', linkname: 'bb/layer.tar' },
      { name: 'c.json', body: image.config.data },
      {
        name: 'manifest.json',
        body: JSON.stringify(
          ['aa', 'bb', 'cc'].map((name) => ({
            Config: 'c.json',
            Layers: [`${name}/layer.tar`],
            RepoTags: [`${name}:1`],
          })),
        ),
      },
    ]);
    const found = await images.importFile(path, { signal });
    expect(found.map(({ reference }) => reference)).toEqual(['aa:1', 'bb:1', 'cc:1']);
    expect(new Set(found.map(({ facts }) => facts.digest)).size).toBe(1);
  });
});

describe('hostile archives are refused, with the entry named', () => {
  test.each<[string, TarEntry, RegExp]>([
    ['a name that climbs', { name: '../../etc/cron.d/x', body: 'x' }, /image_invalid.*\.\.\/\.\.\/etc\/cron/],
    ['a name that climbs later', { name: 'a/../../b', body: 'x' }, /image_invalid.*a\/\.\.\/\.\.\/b/],
    ['an absolute name', { name: '/blobs/passwd', body: 'x' }, /image_invalid.*"\/blobs\/passwd"/],
    [
      'a symbolic link that climbs',
      { name: 'l', type: 'symlink', linkname: '../../etc/shadow' },
      /image_invalid.*etc\/shadow/,
    ],
    [
      'an absolute symbolic link',
      { name: 'l', type: 'symlink', linkname: '/etc/shadow' },
      /image_invalid.*etc\/shadow/,
    ],
    [
      'an absolute hard link',
      { name: 'l', type: 'link', linkname: '/etc/shadow' },
      /image_invalid.*etc\/shadow/,
    ],
    ['a device', { name: 'blobs/dev', type: 'character-device' }, /image_invalid.*character-device/],
    [
      'a long name that climbs',
      { name: `${'a/'.repeat(200)}${'../'.repeat(201)}etc/x`, body: 'x' },
      /image_invalid.*leads out/,
    ],
  ])('%s', async (_, entry, expected) => {
    expect(await refusalOf([{ name: 'fine', body: 'x' }, entry])).toMatch(expected);
  });

  test.each<[string, TarEntry, RegExp]>([
    ['a name that climbs', { name: 'a/../../../etc/evil', body: 'x' }, /layer 1 .*etc\/evil/],
    ['a name that goes up and down', { name: 'link/../x', body: 'x' }, /layer 1 .*link\/\.\.\/x/],
    [
      'a hard link that climbs',
      { name: 'l', type: 'link', linkname: '../../etc/shadow' },
      /layer 1 .*hard link.*shadow/,
    ],
    ['a whiteout of its own folder', { name: 'a/.wh..', body: '' }, /layer 1 .*removes its own folder/],
    ['a whiteout of the folder above', { name: '.wh...', body: '' }, /layer 1 .*removes its own folder/],
  ])('in a layer: %s', async (_, entry, expected) => {
    const said = await refusalOfLayer([entry]);
    expect(said).toMatch(/^image_invalid/);
    expect(said).toMatch(expected);
  });

  test('what a root file system may have is no mistake: absolute links, whiteouts, devices, a leading slash or dot', async () => {
    expect(
      await images.importFile(
        await archive(
          archiveEntries(
            testImage([
              await tarOf([
                { name: './etc/', type: 'directory' },
                { name: '/etc/hosts', body: 'x' },
                { name: 'bin', type: 'symlink', linkname: '/usr/bin' },
                { name: 'up', type: 'symlink', linkname: '../../..' },
                { name: 'etc/hard', type: 'link', linkname: '/etc/hosts' },
                { name: 'dev/null', type: 'character-device', devmajor: 1, devminor: 3 },
                { name: 'a/.wh..wh..opq', body: '' },
                { name: 'a/.wh.gone', body: '' },
                { name: 'a/..almost', body: '' },
              ]),
            ]),
            'x:1',
            'oci',
          ),
        ),
        { signal },
      ),
    ).toHaveLength(1);
  });
});

describe('archives that lie', () => {
  const image = async () => testImage([await tarOf([{ name: 'data', body: 'x'.repeat(5000) }])]);
  const without = async (name: RegExp, form: 'oci' | 'docker' = 'oci') =>
    archiveEntries(await image(), 'x:1', form).filter((entry) => !name.test(entry.name));

  test('a blob that does not have the digest of its name', async () => {
    const entries = archiveEntries(await image(), 'x:1', 'oci');
    const { config } = await image();
    const said = await refusalOf(
      entries.map((entry) =>
        entry.name.includes(config.digest.slice(7)) ? { ...entry, body: `${entry.body} ` } : entry,
      ),
    );
    expect(said).toMatch(/image_digest_mismatch: blobs\/sha256\//);
    expect(said).toContain(config.digest.slice(7));
  });

  test('a layer that unpacks to something else than the config promises', async () => {
    const { config, layers } = await image();
    const other = await tarOf([{ name: 'data', body: 'something else' }]);
    const entries = archiveEntries(
      { ...(await image()), layers: [{ ...layers[0]!, data: other }] },
      'x:1',
      'docker',
    );
    expect(config.digest).toBeTruthy();
    expect(await refusalOf(entries)).toMatch(/image_digest_mismatch: layer 0 .* unpacks to/);
  });

  test('documents that name what is not there', async () => {
    expect(await refusalOf(await without(/layer\.tar$/, 'docker'))).toMatch(
      /image_invalid.*lacks .*layer\.tar/,
    );
    const { config } = await image();
    expect(await refusalOf(await without(new RegExp(config.digest.slice(7))))).toMatch(
      /image_invalid.*lacks blobs\/sha256/,
    );
    expect(await refusalOf(await without(/index\.json$/))).toMatch(/image_invalid.*neither index.json/);
  });

  test('documents of the wrong shape, and larger than any document', async () => {
    const manifest = (text: string) => refusalOf([{ name: 'manifest.json', body: text }]);
    expect(await manifest('{')).toMatch(/image_invalid.*no JSON/);
    expect(await manifest('{}')).toMatch(/image_invalid.*lists no images/);
    expect(await manifest('[null]')).toMatch(/image_invalid.*names no config/);
    expect(await manifest('[{"Config":"../../etc/passwd","Layers":[]}]')).toMatch(/image_invalid.*lacks/);
    expect(await manifest(`[${' '.repeat(5_000_000)}]`)).toMatch(/image_invalid.*5000002 bytes/);
    expect(await manifest(`${'['.repeat(100_000)}`)).toMatch(/image_invalid/);
    const index = (value: unknown) => refusalOf([{ name: 'index.json', body: JSON.stringify(value) }]);
    expect(await index({ manifests: [{ digest: 'sha256:xyz', size: 1 }] })).toMatch(
      /image_invalid.*no sha256 digest/,
    );
    expect(await index({ manifests: [{ digest: digestOf('x'), size: -1 }] })).toMatch(
      /image_invalid.*valid size/,
    );
    expect(await index({ manifests: [] })).toMatch(/image_invalid.*nothing for linux/);
  });

  test('images for another machine or system, without layers, and with names that are none', async () => {
    const made = async (change: object, name = 'x:1') => {
      const { config, layers } = await image();
      const data = Buffer.from(JSON.stringify({ ...JSON.parse(config.data.toString()), ...change }));
      return archiveEntries({ layers, manifest: config, config: { ...config, data } }, name, 'docker');
    };
    expect(await refusalOf(await made({ architecture: 's390x' }))).toMatch(
      /image_invalid.*for s390x, this node is/,
    );
    expect(await refusalOf(await made({ os: 'windows' }))).toMatch(/image_invalid.*for windows/);
    expect(await refusalOf(await made({ rootfs: {} }))).toMatch(/image_invalid.*promises 0 layers/);
    expect(await refusalOf(archiveEntries(testImage([]), 'x:1', 'docker'))).toMatch(
      /image_invalid.*no layers/,
    );
    const bad = await archive(await made({}, 'x\u0007\n:1'));
    expect(await refusal(bad, '')).toMatch(/image_invalid.*"x\\u0007\\n:1" can be no name/);
    expect(await refusal(await archive(await made({})), '../x')).toMatch(/request_invalid/);
  });

  test('a layer compressed with zstd is read like any other, and a damaged one is told', async () => {
    const { config, layers, manifest } = await image();
    const zstd = (data: Buffer) => execFileSync('zstd', ['-q', '-c'], { input: data });
    const packed = { ...layers[0]!, data: zstd(layers[0]!.data) };
    const damaged = { ...packed, data: Buffer.concat([packed.data.subarray(0, -8), Buffer.alloc(8)]) };
    const entries = archiveEntries({ config, manifest, layers: [damaged] }, 'x:1', 'docker');
    expect(await refusalOf(entries)).toMatch(/image_invalid: layer 0 .*zstd/);
    const [imported] = await images.importFile(
      await archive(archiveEntries({ config, manifest, layers: [packed] }, 'x:1', 'docker')),
      { signal },
    );
    expect(imported!.facts.facts.layers).toMatchObject([
      { digest: digestOf(packed.data), mediaType: 'application/vnd.oci.image.layer.v1.tar+zstd' },
    ]);
  });

  test('two entries of one name: the last counts, and nothing of the first stays', async () => {
    const entries = archiveEntries(await image(), 'x:1', 'docker');
    const path = await archive([{ name: 'manifest.json', body: '[]' }, ...entries]);
    expect(await images.importFile(path, { signal })).toHaveLength(1);
    expect(readdirSync(join(dataDir, 'images/staging'))).toEqual([]);
  });
});

describe('files that are no archive', () => {
  test.each<[string, Buffer, RegExp]>([
    ['text', Buffer.from('hello, I am a text'), /it is a text; a function is made with/],
    [
      'a qcow2 disk',
      Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'),
      /the qcow2 disk is refused: its header is cut off/,
    ],
    ['a zip archive', Buffer.from('PK\x03\x04\0\0', 'latin1'), /zip archive/],
    ['an xz file', Buffer.from('fd377a585a0000', 'hex'), /can not be unpacked: xz/],
    ['nothing', Buffer.alloc(0), /the file is empty/],
    ['zeros', Buffer.alloc(2000), /not recognised\. container archives/],
    ['gzip of something else', gzipSync('hello'), /image_invalid/],
  ])('%s', async (name, content, expected) => {
    const path = fresh('.bin');
    writeFileSync(path, content);
    expect(await refusal(path), name).toMatch(/^image_invalid/);
    expect(await refusal(path), name).toMatch(expected);
  });

  test('an ordinary program, a Linux kernel, a missing file, a device', async () => {
    expect(await refusal('/bin/ls')).toMatch(/image_invalid.*ordinary Linux program/);
    const kernel = Buffer.alloc(1024);
    kernel.write('MZ', 0);
    kernel.write('HdrS', 0x202);
    const path = fresh('.img');
    writeFileSync(path, kernel);
    expect(await refusal(path)).toMatch(/image_invalid.*Linux kernel/);
    expect(await refusal(join(folder, 'missing'))).toMatch(/image_not_found/);
    expect(await refusal('/dev/zero')).toMatch(/neither a file nor a folder/);
  });

  test('an archive that is cut off, wherever', async () => {
    const whole = await tarOf(
      archiveEntries(testImage([await tarOf([{ name: 'x', body: 'y'.repeat(3000) }])]), 'x:1', 'oci'),
    );
    for (const length of [600, 1024, 2000, 4000, whole.length - 3000]) {
      const path = fresh('.tar');
      writeFileSync(path, whole.subarray(0, length));
      expect(await refusal(path), `${length}`).toMatch(/^image_invalid/);
    }
    const path = fresh('.tar.gz');
    writeFileSync(path, gzipSync(whole).subarray(0, 300));
    expect(await refusal(path)).toMatch(/^image_invalid.*unexpected end/);
  });

  test('a folder that is no layout is not copied; one with links in it is refused', async () => {
    expect(await refusal(root)).toMatch(/image_invalid.*no OCI layout/);
    const layout = fresh('');
    for (const { name, body } of archiveEntries(testImage([await tarOf([])]), 'x:1', 'oci')) {
      mkdirSync(dirname(join(layout, name)), { recursive: true });
      writeFileSync(join(layout, name), body!);
    }
    symlinkSync('/etc/shadow', join(layout, 'blobs/sha256', 'f'.repeat(64)));
    expect(await refusal(layout)).toMatch(/image_invalid.*"blobs\/sha256\/f+" is a link/);
  });
});

test('an import can be cancelled, and leaves nothing', async () => {
  const path = join(folder, 'large.tar');
  await buildBusyboxArchive(path, { files: { large: Buffer.alloc(8_000_000, 'x') } });
  const stop = new AbortController();
  const importing = images.importFile(path, { signal: stop.signal, progress: () => stop.abort() });
  await expect(importing).rejects.toMatchObject({ code: 'cancelled' });
  expect(leftovers()).toEqual([]);
});
