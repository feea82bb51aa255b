import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SkerryError } from '@skerry/model';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { inspectKernel } from './inspect.ts';

/** The smallest ELF64 with one note segment. */
function elfWithNote(owner: string, type: number, descriptor: Buffer): Buffer {
  const name = Buffer.from(`${owner}\0`.padEnd(Math.ceil((owner.length + 1) / 4) * 4, '\0'));
  const note = Buffer.alloc(12);
  note.writeUInt32LE(owner.length + 1, 0);
  note.writeUInt32LE(descriptor.length, 4);
  note.writeUInt32LE(type, 8);
  const body = Buffer.concat([note, name, descriptor]);
  const head = Buffer.alloc(64 + 56);
  head.writeUInt32BE(0x7f454c46, 0);
  head.set([2, 1, 1], 4);
  head.writeUInt16LE(2, 16);
  head.writeUInt16LE(62, 18);
  head.writeBigUInt64LE(0x100000n, 24);
  head.writeBigUInt64LE(64n, 32);
  head.writeUInt16LE(56, 54);
  head.writeUInt16LE(1, 56);
  head.writeUInt32LE(4, 64);
  head.writeBigUInt64LE(BigInt(head.length), 64 + 8);
  head.writeBigUInt64LE(BigInt(body.length), 64 + 32);
  return Buffer.concat([head, body]);
}
const pvh = elfWithNote('Xen', 18, Buffer.alloc(4, 1));
const refusal = (file: Buffer) => {
  try {
    return inspectKernel(file).boot;
  } catch (error) {
    return (error as Error).message;
  }
};

test('a PVH note makes a kernel that boots on microvm', () => {
  expect(inspectKernel(pvh)).toMatchObject({ boot: 'pvh', format: 'elf64', machines: ['microvm', 'q35'] });
});

test('pebble is recognised as a PVH kernel', () => {
  const pebble = fileURLToPath(new URL('../../../../guests/pebble/', import.meta.url));
  execFileSync('make', ['-s', '-C', pebble]);
  expect(inspectKernel(readFileSync(join(pebble, 'build/pebble.elf')))).toMatchObject({ boot: 'pvh' });
});

test('a multiboot 1 header counts only with the right sum, and an ELF64 only with addresses', () => {
  const header = (flags: number, sum: number) => {
    const bytes = Buffer.alloc(16);
    bytes.writeUInt32LE(0x1badb002, 0);
    bytes.writeUInt32LE(flags, 4);
    bytes.writeInt32LE(sum, 8);
    return bytes;
  };
  const plain = elfWithNote('Other', 1, Buffer.alloc(4));
  expect(refusal(Buffer.concat([plain, header(0x10003, -(0x1badb002 + 0x10003) | 0)]))).toBe('multiboot');
  expect(refusal(Buffer.concat([plain, header(3, -(0x1badb002 + 3) | 0)]))).toMatch(/without addresses/);
  expect(refusal(Buffer.concat([plain, header(3, 42)]))).toMatch(/neither a PVH note nor/);
});

test('what is no unikernel is named for what it is', () => {
  expect(refusal(readFileSync('/bin/ls'))).toMatch(/ordinary Linux program/);
  expect(refusal(elfWithNote('Solo5', 1, Buffer.alloc(4)))).toMatch(/Solo5 tender/);
  expect(refusal(Buffer.from('#!/bin/sh\n'))).toMatch(/neither a container archive nor an ELF/);
  expect(refusal(pvh.subarray(0, 40))).toMatch(/cut off/);
});

test('no bytes whatever make the inspector do more than refuse', () => {
  const attempt = (file: Buffer) => {
    try {
      inspectKernel(file);
    } catch (error) {
      expect(error).toBeInstanceOf(SkerryError);
    }
  };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => attempt(Buffer.from(bytes))),
    { numRuns: 2000 },
  );
  const changes = fc.array(fc.tuple(fc.nat(pvh.length - 1), fc.nat(255)), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(changes, fc.nat(pvh.length), (edits, length) => {
      const file = Buffer.from(pvh);
      for (const [at, byte] of edits) file[at] = byte;
      attempt(file.subarray(0, length));
    }),
    { numRuns: 5000 },
  );
});
