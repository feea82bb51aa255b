// What each kind of unikernel is recognised as, and that no file whatever makes the inspector do more than refuse.
import { execFileSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SkerryError } from '@skerry/model';
import { bzImage, elfFile, libinfo, PVH, solo5Notes, UNIKERNEL_FILES, u32 } from '@skerry/testkit';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteSource, bytesOf, withFileBytes } from './byte-source.ts';
import { inspectKernel } from './inspect.ts';
import type { KernelFacts } from './kernel-facts.ts';

const look = (file: Uint8Array) => inspectKernel(bytesOf(file));
const refusal = (file: Uint8Array): string => {
  try {
    return `taken as ${look(file).boot}`;
  } catch (error) {
    return (error as Error).message;
  }
};

type Row = Readonly<Partial<KernelFacts>>;
const FOUND: Readonly<Record<string, Row>> = {
  'Unikraft for QEMU': {
    ...{ family: 'unikraft', boot: 'multiboot', runnable: true, network: true, version: '0.16.3~e453b74a' },
    unikraft: {
      ...{ version: '0.16.3~e453b74a', codename: 'Telesto', compiler: 'gcc 13.2.0' },
      libraries: ['libvirtio_net', 'libvirtio_pci', 'liblwip'],
    },
  },
  'Unikraft for Firecracker': {
    ...{ family: 'unikraft', runnable: false, network: false },
    why: expect.stringContaining('Firecracker'),
  },
  'Unikraft for Xen': { family: 'unikraft', runnable: false, why: expect.stringContaining('Xen') },
  'Solo5 for hvt': {
    ...{ family: 'solo5', boot: 'tender', runnable: true, needs: ['solo5-hvt', 'kvm'] },
    solo5: { target: 'hvt', abiVersion: 3, devices: [{ name: 'service', type: 'net' }] },
  },
  'Solo5 for spt': {
    ...{ family: 'solo5', boot: 'tender', needs: ['solo5-spt'] },
    solo5: expect.objectContaining({
      devices: [
        { name: 'service', type: 'net' },
        { name: 'storage', type: 'block' },
      ],
    }),
  },
  'Solo5 for virtio': { family: 'solo5', boot: 'multiboot', runnable: true, network: true },
  'Solo5 for Xen': { family: 'solo5', boot: 'none', runnable: false, why: expect.stringContaining('Xen') },
  'Hermit application': {
    ...{ family: 'hermit', runnable: false, hermit: { entryVersion: 4 } },
    why: expect.stringContaining('loader'),
  },
  'OSv loader': { family: 'osv', boot: 'pvh', runnable: true },
  'Nanos kernel': { family: 'nanos', runnable: false, why: expect.stringContaining('disk image') },
  'IncludeOS chain loader': { family: 'includeos', boot: 'multiboot', runnable: true },
  rumprun: { family: 'rumprun', boot: 'multiboot', runnable: true },
  Mewz: { family: 'mewz', boot: 'multiboot', runnable: true },
  'own kernel with its note': { family: 'pebble', boot: 'pvh', runnable: true },
  'Linux as ELF with PVH': { family: 'linux', boot: 'pvh', runnable: true },
  'Linux bzImage': {
    ...{ family: 'linux', boot: 'linux', format: 'bzimage', runnable: true, version: '6.1.0-test (a@b) #1' },
    linux: { protocol: '2.15' },
  },
  'generic PVH': { family: 'generic', boot: 'pvh', machines: ['microvm', 'q35', 'pc'], runnable: true },
  'generic multiboot ELF32': { family: 'generic', boot: 'multiboot', format: 'elf32', runnable: true },
  'generic multiboot with addresses': { family: 'generic', boot: 'multiboot', format: 'elf64' },
  'flat multiboot': { family: 'generic', boot: 'multiboot', format: 'flat', runnable: true },
  'arm64 Image': {
    ...{ family: 'linux', arch: 'arm64', boot: 'linux', machines: ['virt'] },
    ...{ runnable: true, needs: ['qemu-arm64'] },
  },
  'Unikraft for arm64': {
    ...{ family: 'unikraft', arch: 'arm64', runnable: false },
    why: expect.stringContaining('arm64'),
  },
  'UEFI program': { family: 'efi', runnable: false, why: expect.stringContaining('UEFI') },
};

describe('a unikernel is told by its content', () => {
  test.each(Object.keys(UNIKERNEL_FILES))('%s', (name) => {
    expect(look(UNIKERNEL_FILES[name]!())).toMatchObject(FOUND[name]!);
  });

  test('what is not runnable says why, and only that', () => {
    for (const make of Object.values(UNIKERNEL_FILES)) {
      const { runnable, why } = look(make());
      expect(why !== undefined).toBe(!runnable);
    }
  });

  test('Unikraft that draws its chance from the processor needs the instructions for it', () => {
    const sections = { '.uk_libinfo': libinfo(['libukrandom']) };
    expect(look(elfFile({ bits: 32, multiboot: 0, sections })).needs).toEqual(['rdrand', 'rdseed']);
  });

  test('pebble is recognised as a kernel that boots by PVH', () => {
    const pebble = fileURLToPath(new URL('../../../../guests/pebble/', import.meta.url));
    execFileSync('make', ['-s', '-C', pebble]);
    expect(look(readFileSync(join(pebble, 'build/pebble.elf')))).toMatchObject({
      boot: 'pvh',
      runnable: true,
    });
  });
});

describe('what lies or is cut off is refused in a sentence', () => {
  const solo5 = (notes = solo5Notes('hvt')) => elfFile({ notes });
  const bare = solo5Notes('hvt')[0]!;
  const manifest = (descriptor: Buffer) => ({ owner: 'Solo5', type: 0x3154464d, descriptor });
  test.each<[string, () => Buffer, RegExp]>([
    ['a Linux program', () => readFileSync('/bin/ls'), /ordinary Linux program/],
    ['a static program', () => elfFile({}), /perhaps an ordinary Linux program, statically/],
    ['an object file', () => elfFile({ type: 1 }), /no program but of the type 1/],
    ['a script', () => Buffer.from('#!/bin/sh\n'), /neither a container archive nor a kernel/],
    ['a cpio archive', () => Buffer.from('070701'.padEnd(600, '0')), /cpio archive/],
    ['a program for Windows', () => Buffer.from('MZ'.padEnd(600, '\0')), /program for Windows/],
    ['another machine', () => elfFile({ machine: 8, notes: [PVH] }), /machine 8/],
    ['arm64 of no family', () => elfFile({ machine: 183 }), /arm64 and of no unikernel/],
    ['a header that is cut off', () => elfFile({ notes: [PVH] }).subarray(0, 40), /cut off/],
    [
      'sections that are cut off',
      () => elfFile({ notes: [PVH] }).subarray(0, -10),
      /section headers lie beyond/,
    ],
    ['ELF64 with multiboot and no addresses', () => elfFile({ multiboot: 3 }), /without addresses/],
    [
      'a PVH note of two bytes',
      () => elfFile({ notes: [{ ...PVH, descriptor: Buffer.alloc(2) }] }),
      /PVH note has 2/,
    ],
    [
      'multiboot that promises more',
      () => UNIKERNEL_FILES['flat multiboot']!().subarray(0, 2048),
      /promises more/,
    ],
    ['Solo5 without a target', () => solo5([{ ...bare, type: 9 }]), /for which tender/],
    ['a manifest that is too short', () => solo5([bare, manifest(Buffer.alloc(6))]), /cut off/],
    [
      'a manifest that counts beyond its end',
      () => solo5([bare, manifest(Buffer.concat([u32(0), u32(1), u32(60), Buffer.alloc(200)]))]),
      /promises 60/,
    ],
    [
      'a device with a hostile name',
      () => solo5(solo5Notes('hvt', [{ name: 'x=/etc', type: 'net' }])),
      /names a device/,
    ],
    ['a Linux kernel that is cut off', () => bzImage().subarray(0, 1400), /cut off: it has 1400 bytes/],
    ['a Linux kernel of the last century', () => bzImage('x', 0x105), /before version 2.00/],
  ])('%s', (_, make, words) => {
    expect(refusal(make())).toMatch(words);
  });

  test('a multiboot header counts only with the right sum', () => {
    const file = elfFile({ bits: 32, multiboot: 0 });
    const at = file.indexOf(u32(0x1badb002));
    file[at + 8]! ^= 1;
    expect(refusal(file)).toMatch(/neither a PVH note nor/);
  });

  test('a multiboot 2 header alone is named', () => {
    const header = [0xe85250d6, 0, 16, -(0xe85250d6 + 16)].map(u32);
    const body = Buffer.concat([Buffer.alloc(512), ...header, ...header.slice(0, 2)]);
    const aligned = Array.from({ length: 8 }, (_, shift) =>
      elfFile({ body: Buffer.concat([Buffer.alloc(shift), body]) }),
    );
    expect(aligned.map(refusal).some((words) => /multiboot 2/.test(words))).toBe(true);
  });
});

describe('files from strangers', () => {
  const seed = Date.now() & 0x7fffffff;
  console.info(`inspector fuzzing: seed ${seed}`);
  const attempt = (file: Uint8Array) => {
    try {
      expect(look(file).family).toMatch(/^[a-z0-9]+$/);
    } catch (error) {
      if (!(error instanceof SkerryError)) throw error;
    }
  };

  test('no bytes whatever make it do more than refuse', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => attempt(bytes)),
      { seed, numRuns: 2000 },
    );
  });

  test('nor does any valid file, changed in some places or cut', () => {
    const files = Object.values(UNIKERNEL_FILES).map((make) => make());
    const value = fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff));
    const change = fc.record({ at: fc.nat(), bytes: fc.array(value, { minLength: 1, maxLength: 8 }) });
    fc.assert(
      fc.property(
        ...([
          fc.nat(files.length - 1),
          fc.array(change, { minLength: 1, maxLength: 8 }),
          fc.option(fc.nat()),
        ] as const),
        (which, changes, cut) => {
          const file = Buffer.from(files[which]!);
          // Headers are where the lengths stand: most changes go there.
          for (const { at, bytes } of changes)
            Buffer.from(bytes).copy(file, at % (at % 3 === 0 ? file.length : Math.min(file.length, 240)));
          attempt(cut === null ? file : file.subarray(0, cut % file.length));
        },
      ),
      { seed, numRuns: 20_000 },
    );
  });

  test('a huge file costs little: only its tables are read', () => {
    const folder = mkdtempSync(join(tmpdir(), 'skerry-inspect-'));
    try {
      const path = join(folder, 'huge');
      const file = openSync(path, 'w');
      writeSync(file, elfFile({ notes: [PVH] }));
      ftruncateSync(file, 64 * 1024 ** 3);
      closeSync(file);
      const before = process.memoryUsage();
      const startedAt = performance.now();
      expect(withFileBytes(path, inspectKernel)).toMatchObject({ boot: 'pvh' });
      expect(performance.now() - startedAt).toBeLessThan(2000);
      const after = process.memoryUsage();
      expect(after.external + after.arrayBuffers - before.external - before.arrayBuffers).toBeLessThan(
        96 * 1024 ** 2,
      );
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test('tables that point at everything are given up, not followed', () => {
    // 4000 sections, each a note as long as the file.
    const count = 4000;
    const head = elfFile({ notes: [PVH] }).subarray(0, 64);
    head.writeBigUInt64LE(0n, 32);
    head.writeUInt16LE(0, 56);
    head.writeBigUInt64LE(64n, 40);
    head.writeUInt16LE(count, 60);
    head.writeUInt16LE(0, 62);
    const section = Buffer.alloc(64);
    section.writeUInt32LE(7, 4);
    section.writeBigUInt64LE(1024n * 1024n, 32);
    const file = Buffer.concat([
      head,
      ...Array.from({ length: count }, () => section),
      Buffer.alloc(1024 * 1024),
    ]);
    expect(refusal(file)).toMatch(/more tables than any kernel needs/);
    let readBytes = 0;
    const counted = new ByteSource(file.length, (into, at) => {
      readBytes += into.length;
      return file.copy(into, 0, at);
    });
    expect(() => inspectKernel(counted)).toThrow(SkerryError);
    expect(readBytes).toBeLessThan(64 * 1024 ** 2);
  });
});
