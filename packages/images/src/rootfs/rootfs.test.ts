// Root file systems: archives in every compression, folders; what is told of them; hostile ones; unpacking as root.
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TarEntry, tarOf } from '@skerry/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createImageStore } from '../image-store.ts';
import type { ImageFacts, ImageStore } from '../port.ts';
import type { RootfsFacts } from './rootfs-facts.ts';
import { unpackRootfs } from './unpack.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-rootfs-'));
const signal = new AbortController().signal;
const root = process.getuid?.() === 0;
let images: ImageStore;
let next = 0;

beforeAll(async () => {
  images = await createImageStore({ dataDir: join(folder, 'data') });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The first bytes of a program for a processor. */
function elf(machine: number): Buffer {
  const bytes = Buffer.alloc(64);
  bytes.write('\x7fELF\x02\x01\x01', 'latin1');
  bytes.writeUInt16LE(3, 16);
  bytes.writeUInt16LE(machine, 18);
  return bytes;
}
const AMD64 = elf(62);
const directory = (name: string): TarEntry => ({ name, type: 'directory' });
const link = (name: string, linkname: string): TarEntry => ({ name, type: 'symlink', linkname });
const DEBIAN: readonly TarEntry[] = [
  directory('./'),
  link('./bin', 'usr/bin'),
  link('./sbin', 'usr/sbin'),
  link('./lib', 'usr/lib'),
  directory('./dev/'),
  { name: './dev/null', type: 'character-device', devmajor: 1, devminor: 3 },
  { name: './dev/fd', type: 'symlink', linkname: '/proc/self/fd' },
  directory('./etc/'),
  link('./etc/os-release', '../usr/lib/os-release'),
  directory('./usr/'),
  { name: './usr/bin/dash', body: AMD64 },
  link('./usr/bin/sh', 'dash'),
  {
    name: './usr/lib/os-release',
    body: 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n',
  },
  { name: './usr/lib/systemd/systemd', body: AMD64 },
  link('./usr/sbin/init', '/lib/systemd/systemd'),
  { name: './usr/bin/su', body: AMD64, mode: 0o4755 },
  { name: './home/ada/note', body: 'x', uid: 1000, gid: 1000, mode: 0o640 },
  { name: './home/ada/same', type: 'link', linkname: './home/ada/note' },
];

async function archive(entries: readonly TarEntry[], program?: string): Promise<string> {
  const path = join(folder, `root-${next++}.tar`);
  const tar = await tarOf(entries);
  writeFileSync(path, program === undefined ? tar : execFileSync(program, ['-c'], { input: tar }));
  return path;
}
const importOne = async (path: string): Promise<ImageFacts> =>
  (await images.importFile(path, { reference: 'x:1', signal }))[0]!.facts;
const factsOf = (image: ImageFacts) => image.facts as unknown as RootfsFacts;
const refusal = async (entries: readonly TarEntry[]) =>
  images
    .importFile(await archive([{ name: './bin/sh', body: AMD64 }, ...entries]), { reference: 'x:1', signal })
    .then(
      (found) => `taken: ${JSON.stringify(found)}`,
      (error) => `${error.code}: ${error.message}`,
    );

describe('what is recognised', () => {
  test('a Debian in each compression: its init, system, processor, size', async () => {
    for (const [program, compression] of [
      [undefined, 'none'],
      ['gzip', 'gzip'],
      ['xz', 'xz'],
      ['zstd', 'zstd'],
    ] as const) {
      const path = await archive(DEBIAN, program);
      const image = await importOne(path);
      expect(image, compression).toMatchObject({
        kind: 'rootfs',
        arch: 'amd64',
        facts: {
          compression,
          entries: DEBIAN.length,
          init: { kind: 'systemd', path: '/sbin/init' },
          os: { id: 'debian', version: '12', prettyName: 'Debian GNU/Linux 12 (bookworm)' },
          devices: ['./dev/null'],
        },
      });
      expect(readFileSync(images.blobPath(image.digest)).equals(readFileSync(path))).toBe(true);
    }
  });

  test.each<[string, TarEntry[], RootfsFacts['init'], string]>([
    [
      'busybox by hard links',
      [
        { name: 'bin/[', body: AMD64 },
        { name: 'bin/busybox', type: 'link', linkname: 'bin/[' },
        { name: 'sbin/init', type: 'link', linkname: 'bin/[' },
        { name: 'bin/sh', type: 'link', linkname: 'bin/[' },
      ],
      { kind: 'busybox', path: '/sbin/init' },
      'amd64',
    ],
    [
      'busybox by links, for arm64',
      [{ name: 'bin/busybox', body: elf(183) }, link('sbin/init', '/bin/busybox'), link('bin/sh', 'busybox')],
      { kind: 'busybox', path: '/sbin/init' },
      'arm64',
    ],
    [
      'OpenRC under busybox, as Alpine has it',
      [
        { name: 'bin/busybox', body: AMD64 },
        link('sbin/init', '/bin/busybox'),
        { name: 'sbin/openrc', body: AMD64 },
        { name: 'etc/inittab', body: '::sysinit:/sbin/openrc sysinit' },
      ],
      { kind: 'openrc', path: '/sbin/init' },
      'amd64',
    ],
    [
      'System V',
      [
        { name: 'sbin/init', body: AMD64 },
        { name: 'etc/inittab', body: 'id:2:initdefault:' },
      ],
      { kind: 'sysvinit', path: '/sbin/init' },
      'amd64',
    ],
    ['none', [{ name: 'bin/sh', body: AMD64 }], undefined, 'amd64'],
    ['a link in a circle', [{ name: 'bin/sh', body: AMD64 }, link('sbin/init', 'init')], undefined, 'amd64'],
  ])('init: %s', async (_, entries, init, arch) => {
    const image = await importOne(await archive(entries));
    expect(factsOf(image).init).toEqual(init);
    expect(image).toMatchObject({ kind: 'rootfs', arch });
  });

  test('a folder is packed, links and all; one without a system is none', async () => {
    const tree = join(folder, 'tree');
    for (const name of ['bin', 'etc', 'sbin']) mkdirSync(join(tree, name), { recursive: true });
    writeFileSync(join(tree, 'bin/busybox'), AMD64);
    symlinkSync('/bin/busybox', join(tree, 'sbin/init'));
    const image = await importOne(tree);
    expect(image).toMatchObject({
      kind: 'rootfs',
      facts: { compression: 'zstd', init: { kind: 'busybox' } },
    });
    rmSync(join(tree, 'bin/busybox'));
    await expect(importOne(tree)).rejects.toMatchObject({
      code: 'image_invalid',
      message: expect.stringMatching(/no init, no shell/),
    });
  });
});

describe('hostile archives', () => {
  test.each<[string, TarEntry[], RegExp]>([
    ['a name that climbs', [{ name: '../../etc/evil', body: 'x' }], /"\.\.\/\.\.\/etc\/evil" leads out/],
    ['a name that goes up and down', [{ name: './usr/../../x', body: 'x' }], /leads out/],
    [
      'a hard link that climbs',
      [{ name: './l', type: 'link', linkname: '../../etc/shadow' }],
      /hard link to ".*shadow", out/,
    ],
    [
      'a name through a link',
      [link('./out', '/etc'), { name: './out/passwd', body: 'x' }],
      /through the link "out"/,
    ],
    [
      'a name through a link of a folder above',
      [link('./a/b', '../..'), { name: './a/b/c/d', body: 'x' }],
      /through the link "a\/b"/,
    ],
    [
      'a hard link through a link',
      [link('./out', '/etc'), { name: './l', type: 'link', linkname: './out/shadow' }],
      /through the link "out"/,
    ],
    [
      'a device with a name that means more',
      [{ name: './dev/*', type: 'block-device' }],
      /name that no device has/,
    ],
  ])('%s is refused', async (_, entries, expected) => {
    const said = await refusal(entries);
    expect(said).toMatch(/^image_invalid/);
    expect(said).toMatch(expected);
    expect(readdirSync(join(folder, 'data/images/staging'))).toEqual([]);
  });

  test('one that is cut off, or no system at all', async () => {
    const whole = readFileSync(await archive(DEBIAN, 'xz'));
    const path = join(folder, 'cut.tar.xz');
    writeFileSync(path, whole.subarray(0, whole.length / 2));
    await expect(importOne(path)).rejects.toMatchObject({ code: 'image_invalid' });
    await expect(importOne(await archive([{ name: './etc/hosts', body: 'x' }]))).rejects.toMatchObject({
      code: 'image_invalid',
      message: expect.stringMatching(/neither a container image nor a root file system/),
    });
  });
});

describe.skipIf(!root)('unpacking (needs root for owners)', () => {
  const unpack = async (shiftUidBy?: number) => {
    const image = await importOne(await archive(DEBIAN, 'zstd'));
    const into = join(folder, `into-${next++}`);
    const go = () =>
      unpackRootfs(images.blobPath(image.digest), factsOf(image), into, {
        signal,
        ...(shiftUidBy !== undefined && { shiftUidBy }),
      });
    await go();
    return { into, go };
  };

  test('owners, modes and links are those of the archive, devices are left out, and a second time changes nothing', async () => {
    const { into, go } = await unpack();
    const { uid, gid, mode, nlink } = lstatSync(join(into, 'home/ada/note'));
    expect([uid, gid, mode & 0o7777, nlink]).toEqual([1000, 1000, 0o640, 2]);
    expect(lstatSync(join(into, 'usr/bin/su')).mode & 0o7777).toBe(0o4755);
    expect(readlinkSync(join(into, 'usr/sbin/init'))).toBe('/lib/systemd/systemd');
    expect(existsSync(join(into, 'dev/null'))).toBe(false);
    writeFileSync(join(into, 'home/ada/note'), 'changed by the guest');
    await go();
    expect(readFileSync(join(into, 'home/ada/note'), 'utf8')).toBe('changed by the guest');
  });

  test('for a user namespace all belongs to its users', async () => {
    const { into } = await unpack(200_000);
    const owner = (name: string) => [lstatSync(join(into, name)).uid, lstatSync(join(into, name)).gid];
    expect(owner('.')).toEqual([200_000, 200_000]);
    expect(owner('usr/bin/su')).toEqual([200_000, 200_000]);
    expect(owner('home/ada/note')).toEqual([201_000, 201_000]);
    expect(lstatSync(join(into, 'usr/bin/su')).mode & 0o7777).toBe(0o4755);
  });

  test('what was cut off is begun again, and a cancelled one leaves nothing', async () => {
    const image = await importOne(await archive(DEBIAN));
    const into = join(folder, `into-${next++}`);
    mkdirSync(join(`${into}.unpacking`, 'half'), { recursive: true });
    const blob = images.blobPath(image.digest);
    const stop = new AbortController();
    stop.abort();
    await expect(unpackRootfs(blob, factsOf(image), into, { signal: stop.signal })).rejects.toMatchObject({
      code: 'cancelled',
    });
    expect([existsSync(into), existsSync(`${into}.unpacking`)]).toEqual([false, false]);
    mkdirSync(join(`${into}.unpacking`, 'half'), { recursive: true });
    await unpackRootfs(blob, factsOf(image), into, { signal });
    expect([existsSync(join(into, 'half')), existsSync(join(into, 'usr/bin/dash'))]).toEqual([false, true]);
  });

  test('a disk that is full is told, and nothing half done stays', async () => {
    const disk = mkdtempSync(join(folder, 'small-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk]);
    try {
      const image = await importOne(
        await archive([...DEBIAN, { name: './srv/large', body: 'x'.repeat(200_000) }]),
      );
      const into = join(disk, 'root');
      await expect(
        unpackRootfs(images.blobPath(image.digest), factsOf(image), into, { signal }),
      ).rejects.toMatchObject({ code: 'disk_full' });
      expect(readdirSync(disk)).toEqual([]);
    } finally {
      execFileSync('umount', [disk]);
    }
  });
});
