// Disks of every format that people have: what is recognised, what is stored, what is refused before a program sees it.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createImageStore } from '../image-store.ts';
import type { ImageFacts, ImageStore } from '../port.ts';
import { boundedBytes } from './disk-bytes.ts';
import { ESP_GUID } from './gpt.ts';
import { inspectDisk } from './inspect-disk.ts';
import { buildDisk, ext4Partition, fatPartition, markedPartition } from './testing/build-disk.ts';

const MIB = 1024 * 1024;
const LINUX_GUID = '0fc63daf-8483-4772-8e79-3d69d8477de4';
const folder = mkdtempSync(join(tmpdir(), 'skerry-disks-'));
const signal = new AbortController().signal;
let images: ImageStore;
let next = 0;
/** A disk that boots by UEFI, with a Linux on it. */
let linux: Buffer;
let linuxPath: string;

beforeAll(async () => {
  images = await createImageStore({ dataDir: join(folder, 'data') });
  linux = buildDisk({
    scheme: 'gpt',
    partitions: [
      {
        kind: ESP_GUID,
        name: 'boot',
        content: fatPartition(8, ['EFI/BOOT/BOOTX64.EFI', 'EFI/debian/grubx64.efi']),
      },
      { kind: LINUX_GUID, name: 'root', content: ext4Partition(8, 'cloudimg-rootfs') },
    ],
  });
  linuxPath = file(linux);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const fresh = () => join(folder, `disk-${next++}`);
function file(content: Buffer): string {
  const path = fresh();
  writeFileSync(path, content);
  return path;
}
const qemuImg = (...args: string[]) => execFileSync('qemu-img', args, { encoding: 'utf8' });
function converted(to: string, from = linuxPath, ...options: string[]): string {
  const path = fresh();
  qemuImg('convert', '-f', 'raw', '-O', to, ...options, from, path);
  return path;
}
const importOne = async (path: string): Promise<ImageFacts> =>
  (await images.importFile(path, { reference: 'x:1', signal }))[0]!.facts;
const refusal = (path: string) =>
  images.importFile(path, { reference: 'x:1', signal }).then(
    (found) => `taken: ${JSON.stringify(found)}`,
    (error) => `${error.code}: ${error.message}`,
  );
const staging = () => readdirSync(join(folder, 'data/images/staging'));
const patched = (path: string, at: number, bytes: Buffer | number[]): string => {
  const copy = file(readFileSync(path));
  const fd = openSync(copy, 'r+');
  writeSync(fd, Buffer.from(bytes), 0, bytes.length, at < 0 ? statSync(copy).size + at : at);
  return copy;
};

const LINUX_FACTS = {
  kind: 'disk',
  arch: 'amd64',
  facts: {
    scheme: 'gpt',
    firmware: 'uefi',
    os: 'debian',
    partitions: [
      {
        number: 1,
        kind: ESP_GUID,
        name: 'boot',
        startBytes: MIB,
        sizeBytes: 8 * MIB,
        fileSystem: 'vfat',
        label: 'ESP',
      },
      { number: 2, kind: LINUX_GUID, name: 'root', fileSystem: 'ext4', label: 'cloudimg-rootfs' },
    ],
  },
};

describe('formats', () => {
  test('a raw disk is stored as it is, with holes where it has zeros', async () => {
    const path = fresh();
    writeFileSync(path, linux);
    truncateSync(path, 100 * MIB); // a larger disk whose end nobody has written
    const facts = await importOne(path);
    expect(facts).toMatchObject(LINUX_FACTS);
    expect(facts).toMatchObject({
      facts: { format: 'raw', importedFrom: 'raw', virtualSizeBytes: 100 * MIB },
    });
    expect(facts.digest).toBe(`sha256:${createHash('sha256').update(readFileSync(path)).digest('hex')}`);
    const { size, blocks } = statSync(images.blobPath(facts.digest));
    expect(size).toBe(100 * MIB);
    expect(blocks * 512).toBeLessThan(10 * MIB);
    expect(facts.facts.allocatedBytes).toBeLessThan(10 * MIB);
    expect(readFileSync(images.blobPath(facts.digest)).equals(readFileSync(path))).toBe(true);
  });

  test('a qcow2 disk is stored as it is, and read whatever its tables are; compressed with zstd its content is unknown', async () => {
    for (const options of [
      [],
      ['-c'],
      ['-c', '-o', 'cluster_size=2M'],
      ['-o', 'compat=0.10'],
      ['-o', 'cluster_size=4k'],
      ['-o', 'extended_l2=on,cluster_size=64k'],
    ]) {
      const path = converted('qcow2', linuxPath, ...options);
      const facts = await importOne(path);
      expect(facts, options.join()).toMatchObject(LINUX_FACTS);
      expect(facts.facts).toMatchObject({ format: 'qcow2', virtualSizeBytes: linux.length });
      expect(facts.facts.usedBytes).toBeLessThan(linux.length);
      expect(readFileSync(images.blobPath(facts.digest)).equals(readFileSync(path))).toBe(true);
    }
    const zstd = await importOne(converted('qcow2', linuxPath, '-c', '-o', 'compression_type=zstd'));
    expect(zstd).toMatchObject({
      kind: 'disk',
      facts: { scheme: 'unknown', virtualSizeBytes: linux.length },
    });
  });

  test.each([
    ['vmdk', []],
    ['vmdk', ['-o', 'subformat=streamOptimized']],
    ['vdi', []],
    ['vdi', ['-o', 'static=on']],
    ['vhdx', []],
    ['vhdx', ['-o', 'subformat=fixed']],
    ['vpc', ['-o', 'force_size=on']],
    ['vpc', ['-o', 'subformat=fixed,force_size=on']],
  ] as const)('%s %j becomes qcow2 with the same content', async (format, options) => {
    const facts = await importOne(converted(format, linuxPath, ...options));
    expect(facts).toMatchObject(LINUX_FACTS);
    expect(facts.facts).toMatchObject({
      format: 'qcow2',
      importedFrom: format,
      virtualSizeBytes: linux.length,
    });
    expect(qemuImg('compare', '-f', 'raw', '-F', 'qcow2', linuxPath, images.blobPath(facts.digest))).toMatch(
      /identical/,
    );
    expect(staging()).toEqual([]);
  });

  test('a disk that is compressed as a whole is unpacked first', async () => {
    for (const program of ['xz', 'zstd', 'gzip']) {
      const path = fresh();
      writeFileSync(path, execFileSync(program, ['-c', '-1', linuxPath], { maxBuffer: 100 * MIB }));
      expect(await importOne(path)).toMatchObject({
        ...LINUX_FACTS,
        facts: { ...LINUX_FACTS.facts, format: 'raw', importedFrom: `raw, compressed with ${program}` },
      });
    }
    expect(staging()).toEqual([]);
  });
});

describe('what is recognised inside', () => {
  test('an MBR disk with boot code boots by BIOS; file systems are told by their marks', async () => {
    const disk = buildDisk({
      scheme: 'mbr',
      bootCode: true,
      partitions: [
        { kind: 0x83, content: ext4Partition(8), active: true },
        {
          kind: 0x82,
          content: markedPartition(1, Buffer.concat([Buffer.alloc(4086), Buffer.from('SWAPSPACE2')])),
        },
        { kind: 0x83, content: markedPartition(1, 'XFSB') },
        {
          kind: 0x8e,
          content: markedPartition(1, Buffer.concat([Buffer.alloc(512), Buffer.from('LABELONE')])),
        },
      ],
    });
    expect(await importOne(file(disk))).toMatchObject({
      kind: 'disk',
      arch: 'amd64',
      facts: {
        firmware: 'bios',
        partitions: [
          { number: 1, kind: '0x83', fileSystem: 'ext4', active: true },
          { number: 2, kind: '0x82', fileSystem: 'swap' },
          { number: 3, fileSystem: 'xfs' },
          { number: 4, fileSystem: 'lvm2' },
        ],
      },
    });
  });

  test('an EFI system partition tells the processor, in each size of FAT', async () => {
    const of = (sizeMib: number, bits: 12 | 16 | 32) =>
      buildDisk({
        scheme: 'gpt',
        partitions: [{ kind: ESP_GUID, content: fatPartition(sizeMib, ['EFI/BOOT/BOOTAA64.EFI'], bits) }],
      });
    for (const [sizeMib, bits] of [
      [2, 12],
      [16, 16],
      [40, 32],
    ] as const)
      expect(await importOne(file(of(sizeMib, bits)))).toMatchObject({
        arch: 'arm64',
        facts: { firmware: 'uefi' },
      });
  });

  test('a GPT whose beginning is damaged is read from its end; one that is damaged at both is refused', async () => {
    const disk = Buffer.from(linux);
    disk.fill(0xff, 512, 1024);
    expect(await importOne(file(disk))).toMatchObject(LINUX_FACTS);
    disk.fill(0xff, disk.length - 512);
    expect(await refusal(file(disk))).toMatch(/^image_invalid: the disk is damaged/);
  });

  test('a file system without a partition table is a disk, too', async () => {
    expect(await importOne(file(ext4Partition(4, 'data')))).toMatchObject({
      kind: 'disk',
      facts: { scheme: 'none', partitions: [], fileSystem: 'ext4', label: 'data', firmware: 'unknown' },
    });
  });

  test('disks of Nanos and OSv are unikernels, raw and as qcow2', async () => {
    const nanos = buildDisk({
      scheme: 'mbr',
      bootCode: true,
      partitions: [
        { kind: 0x83, content: markedPartition(1, 'NVMTFS') },
        { kind: 0x83, content: markedPartition(1, 'NVMTFS') },
      ],
    });
    const told = {
      kind: 'unikernel',
      arch: 'amd64',
      facts: { format: 'disk', family: 'nanos', diskFormat: 'raw' },
    };
    expect(await importOne(file(nanos))).toMatchObject(told);
    const osv = buildDisk({
      scheme: 'mbr',
      bootCode: true,
      partitions: [{ kind: 0x83, content: markedPartition(1, Buffer.from('adbeadde', 'hex')) }],
    });
    osv.write('/hello --verbose\0', 512);
    expect(await importOne(converted('qcow2', file(osv)))).toMatchObject({
      kind: 'unikernel',
      facts: { format: 'disk', family: 'osv', diskFormat: 'qcow2', commandLine: '/hello --verbose' },
    });
  });
});

describe('disks that lie', () => {
  test('a qcow2 that names a file of the host, in any of its ways', async () => {
    const behind = fresh();
    qemuImg('create', '-q', '-f', 'qcow2', '-b', '/etc/passwd', '-F', 'raw', behind, '1M');
    expect(await refusal(behind)).toMatch(/^image_invalid: .*backing file/);
    const outside = fresh();
    qemuImg('create', '-q', '-f', 'qcow2', '-o', `data_file=${fresh()},data_file_raw=on`, outside, '1M');
    expect(await refusal(outside)).toMatch(/^image_invalid: .*another file/);
    const named = converted('qcow2');
    // The name alone, without the feature: an extension of the header.
    const extension = Buffer.concat([
      Buffer.from('44415441', 'hex'),
      Buffer.from([0, 0, 0, 8]),
      Buffer.from('/etc/abc'),
      Buffer.alloc(8),
    ]);
    expect(await refusal(patched(named, readFileSync(named).readUInt32BE(100), extension))).toMatch(
      /another file for its data/,
    );
  });

  test('a qcow2 that is encrypted, damaged, huge, or of features that nobody knows', async () => {
    const path = converted('qcow2');
    const number = (value: number) => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64BE(BigInt(value));
      return bytes;
    };
    expect(await refusal(patched(path, 32, [0, 0, 0, 2]))).toMatch(/encrypted/);
    expect(await refusal(patched(path, 72, number(2)))).toMatch(/marked as damaged/);
    expect(await refusal(patched(path, 72, number(1 << 9)))).toMatch(/features that are not known/);
    expect(await refusal(patched(path, 24, number(2 ** 45)))).toMatch(/claims \d+ bytes, more than/);
    expect(await refusal(patched(path, 20, [0, 0, 0, 63]))).toMatch(/clusters of 2\^63/);
    expect(await refusal(patched(path, 36, [0xff, 0xff, 0xff, 0xff]))).toMatch(
      /level 1 table has 4294967295/,
    );
    expect(await refusal(patched(path, 40, number(512)))).toMatch(/no cluster/);
  });

  test('a vmdk whose data or parent is elsewhere', async () => {
    const flat = join(folder, 'flat.vmdk');
    qemuImg('convert', '-f', 'raw', '-O', 'vmdk', '-o', 'subformat=monolithicFlat', linuxPath, flat);
    expect(await refusal(flat)).toMatch(/^image_invalid: .*other files/);
    const sparse = converted('vmdk');
    const text = readFileSync(sparse).toString('latin1');
    const patchedText = (from: string, to: string) => patched(sparse, text.indexOf(from), Buffer.from(to));
    expect(await refusal(patchedText('monolithicSparse', 'monolithicFlat" '))).toMatch(
      /whose data is in other files/,
    );
    expect(await refusal(patchedText('parentCID=ffffffff', 'parentCID=12345678'))).toMatch(
      /changes to another disk/,
    );
    expect(await refusal(patchedText('ddb.virtualHWVersion', 'parentFileNameHint = '))).toMatch(
      /names a parent/,
    );
    expect(await refusal(patchedText('SPARSE "disk-', 'SPARSE "/etc/'))).toMatch(/names other files/);
    expect(await refusal(patched(sparse, 12, [0, 0, 0, 0, 0, 0, 0, 0]))).toMatch(/size 0/);
  });

  test('a vhdx, a vdi, a vhd that hold only changes to another disk', async () => {
    const vdi = converted('vdi');
    expect(await refusal(patched(vdi, 0x4c, [4, 0, 0, 0]))).toMatch(/changes to another disk/);
    expect(await refusal(patched(vdi, 0x1b8, [1]))).toMatch(/names a parent/);
    const vhdx = converted('vhdx');
    const content = readFileSync(vhdx);
    const parameters = content.indexOf(Buffer.from('3767a1ca36fa434db3b633f0aa44e76b', 'hex'));
    const region = parameters - (parameters % (64 * 1024));
    const place = region + content.readUInt32LE(parameters + 16);
    expect(await refusal(patched(vhdx, place + 4, [2]))).toMatch(/changes to another disk/);
    const locator = Buffer.from('2d5fd3a80bb34d45abf7d3d84834ab0c', 'hex');
    expect(await refusal(patched(vhdx, parameters, locator))).toMatch(/names a parent/);
    const vhd = converted('vpc', linuxPath, '-o', 'subformat=fixed,force_size=on');
    expect(await refusal(patched(vhd, -512 + 60, [0, 0, 0, 4]))).toMatch(/sum is wrong/);
  });

  test('whatever is cut off says so', async () => {
    const cut = async (path: string, keep: number) => {
      const short = file(readFileSync(path).subarray(0, keep));
      return refusal(short);
    };
    expect(await cut(linuxPath, 12 * MIB)).toMatch(
      /^image_invalid: the disk is cut off: its partition 2 ends at/,
    );
    for (const format of ['qcow2', 'vmdk', 'vdi', 'vhdx'] as const) {
      const path = converted(format);
      for (const part of [0.01, 0.5, 0.9])
        expect(await cut(path, Math.floor(statSync(path).size * part)), `${format} ${part}`).toMatch(
          /^image_invalid/,
        );
    }
  });

  test('a size that no node has is refused before anything is read or written', () => {
    const huge = boundedBytes(17 * 1024 ** 4, () => expect.fail('it was read'));
    expect(() => inspectDisk(huge, 'raw')).toThrow(/the disk has \d+ bytes, more than/);
  });
});

test('a collection leaves the disk that an instance needs', async () => {
  const kept = await importOne(linuxPath);
  const gone = await importOne(converted('qcow2'));
  expect(await images.collect(new Set([kept.digest]))).toBeGreaterThan(0);
  expect([await images.has(kept.digest), await images.has(gone.digest)]).toEqual([true, false]);
  expect(readFileSync(images.blobPath(kept.digest)).equals(linux)).toBe(true);
});
