// Headers from strangers: cut off, changed, or noise. Every reader answers or refuses, soon, and asks for nothing outside of the file.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SkerryError } from '@skerry/model';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readIso } from '../iso/iso.ts';
import { recogniseContent } from '../recognise.ts';
import { boundedBytes, type DiskBytes } from './disk-bytes.ts';
import { fatNames } from './fat.ts';
import { fileSystemOf } from './file-system.ts';
import { ESP_GUID } from './gpt.ts';
import { inspectDisk } from './inspect-disk.ts';
import { buildDisk, ext4Partition, fatPartition } from './testing/build-disk.ts';
import { readVdi } from './vdi.ts';
import { readVhd } from './vhd.ts';
import { readVhdx } from './vhdx.ts';
import { readVmdk } from './vmdk.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-hostile-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** As long as a reader may take for one file; a loop without end would take longer than any test. */
const LIMIT_MS = 2000;
const RUNS = 150;
const seed = Date.now() % 2 ** 31;

type Reader = (file: DiskBytes) => unknown;
interface Sample {
  readonly content: () => Buffer;
  readonly read: Reader;
}

const paths: Record<string, string> = {};
/** Numbers that break arithmetic. */
const EDGES = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff];

beforeAll(() => {
  const raw = join(folder, 'raw');
  const esp = fatPartition(1, ['EFI/BOOT/BOOTX64.EFI']);
  const partitions = [
    { kind: ESP_GUID, content: esp },
    { kind: '0fc63daf-8483-4772-8e79-3d69d8477de4', content: ext4Partition(1) },
  ];
  writeFileSync(raw, buildDisk({ scheme: 'gpt', partitions }));
  paths.raw = raw;
  paths.mbr = join(folder, 'mbr');
  const plain = partitions.map(({ content }, i) => ({ kind: i === 0 ? 0xef : 0x05, content }));
  writeFileSync(paths.mbr, buildDisk({ scheme: 'mbr', bootCode: true, partitions: plain }));
  paths.fat = join(folder, 'fat');
  writeFileSync(paths.fat, esp);
  const convert = (name: string, format: string, ...options: string[]) => {
    paths[name] = join(folder, name);
    execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', format, ...options, raw, paths[name]]);
  };
  convert('qcow2', 'qcow2');
  convert('qcow2-packed', 'qcow2', '-c');
  convert('qcow2-extended', 'qcow2', '-o', 'extended_l2=on');
  convert('vmdk', 'vmdk');
  convert('vmdk-stream', 'vmdk', '-o', 'subformat=streamOptimized');
  convert('vdi', 'vdi');
  convert('vhdx', 'vhdx');
  convert('vhd', 'vpc');
  paths.iso = join(folder, 'iso');
  const tree = join(folder, 'tree');
  execFileSync('mkdir', [tree]);
  writeFileSync(join(tree, 'efi.img'), esp);
  const boot = ['-c', 'catalog', '-e', 'efi.img', '-no-emul-boot'];
  execFileSync('xorriso', ['-as', 'mkisofs', '-quiet', '-o', paths.iso, ...boot, tree], { stdio: 'ignore' });
});

const qcow2: Reader = (file) => inspectDisk(file, 'qcow2');
const raw: Reader = (file) => inspectDisk(file, 'raw');
const sample = (name: string, read: Reader): Sample => ({ content: () => readFileSync(paths[name]!), read });
const SAMPLES: Readonly<Record<string, Sample>> = {
  gpt: sample('raw', raw),
  mbr: sample('mbr', raw),
  fat: sample('fat', (file) => fatNames(file, ['EFI', 'BOOT'])),
  qcow2: sample('qcow2', qcow2),
  'qcow2, compressed': sample('qcow2-packed', qcow2),
  'qcow2, extended': sample('qcow2-extended', qcow2),
  vmdk: sample('vmdk', readVmdk),
  'vmdk, streamed': sample('vmdk-stream', readVmdk),
  vdi: sample('vdi', readVdi),
  vhdx: sample('vhdx', readVhdx),
  vhd: sample('vhd', readVhd),
  iso: sample('iso', readIso),
};

/** A reader over bytes that fails the test where something outside is asked for. */
function read(content: Buffer, reader: Reader): void {
  const file = boundedBytes(content.length, (into, at) => {
    expect(at >= 0 && at + into.length <= content.length, `${at} + ${into.length}`).toBe(true);
    return content.copy(into, 0, at, at + into.length);
  });
  const begin = performance.now();
  try {
    reader(file);
  } catch (error) {
    if (!(error instanceof SkerryError)) throw error;
    expect(error.code).toBe('image_invalid');
    expect(error.message.length).toBeLessThan(500);
  }
  expect(performance.now() - begin).toBeLessThan(LIMIT_MS);
}

const FIRST = 24;
const BEGINS = 48;
const PLACES = 4096;

/** Where a change means something: in the first header, where something begins after zeros (tables), and anywhere else. */
function tellingPlaces(content: Buffer): readonly number[][] {
  const all: number[] = [];
  for (let at = 0; at + 4 <= content.length && all.length < PLACES; at += 4)
    if (content.readUInt32LE(at) !== 0) all.push(at);
  const begins = all.filter(
    (at) => at >= 8 && content.readUInt32LE(at - 4) === 0 && content.readUInt32LE(at - 8) === 0,
  );
  return [all.slice(0, FIRST), begins.slice(0, BEGINS), all].map((some) => (some.length > 0 ? some : [0]));
}

const change = fc.record({
  where: fc.nat(2),
  place: fc.nat(),
  value: fc.oneof(fc.constantFrom(...EDGES), fc.nat(0xffffffff)),
  big: fc.boolean(),
  width: fc.constantFrom(1, 2, 4),
});

describe.each(Object.entries(SAMPLES))('%s', (_, { content, read: reader }) => {
  test('as it was made it is read', () => {
    const whole = content();
    expect(() => reader(boundedBytes(whole.length, (into, at) => whole.copy(into, 0, at)))).not.toThrow();
  });

  test(`changed at random, or cut off, it is read or refused (seed ${seed})`, () => {
    const whole = content();
    const places = tellingPlaces(whole);
    const wrong = fc.record({
      changes: fc.array(change, { minLength: 1, maxLength: 3 }),
      keep: fc.option(fc.nat(whole.length), { nil: undefined, freq: 3 }),
    });
    fc.assert(
      fc.property(wrong, ({ changes, keep }) => {
        const undo: (readonly [number, Buffer])[] = [];
        for (const { where, place, value, big, width } of changes) {
          const some = places[where]!;
          const at = Math.min(some[place % some.length]!, whole.length - width);
          undo.push([at, Buffer.from(whole.subarray(at, at + width))]);
          const cut = value % 2 ** (8 * width);
          if (big) whole.writeUIntBE(cut, at, width);
          else whole.writeUIntLE(cut, at, width);
        }
        try {
          read(keep === undefined ? whole : whole.subarray(0, keep), reader);
        } finally {
          for (const [at, bytes] of undo.reverse()) bytes.copy(whole, at);
        }
      }),
      { seed, numRuns: RUNS },
    );
  });
});

test(`noise behind any magic is read or refused by every reader (seed ${seed})`, () => {
  const magic = fc.constantFrom(
    '',
    'QFI\xfb\0\0\0\x03',
    'KDMV\x01',
    'vhdxfile',
    'conectix',
    '\x7fELF',
    'NVMTFS',
  );
  fc.assert(
    fc.property(magic, fc.uint8Array({ maxLength: 4096 }), fc.nat(40_000), (start, noise, zeros) => {
      const content = Buffer.concat([Buffer.from(start, 'latin1'), Buffer.from(noise), Buffer.alloc(zeros)]);
      for (const { read: reader } of Object.values(SAMPLES)) read(content, reader);
      read(content, fileSystemOf);
      recogniseContent(content.subarray(0, 66 * 1024), content.subarray(-512));
    }),
    { seed, numRuns: 100 },
  );
});
