// First file systems of Linux, told by their content however they are packed, and never unpacked into the store.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SkerryError } from '@skerry/model';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { createImageStore } from '../image-store.ts';
import { recogniseContent } from '../recognise.ts';
import { ByteSource, bytesOf } from '../unikernel/byte-source.ts';
import { isCpioInLz4, readInitramfs } from './cpio.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-initramfs-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const signal = new AbortController().signal;
const seed = Date.now() % 2 ** 31;

const tree = join(folder, 'tree');
mkdirSync(join(tree, 'bin'), { recursive: true });
writeFileSync(join(tree, 'init'), '#!/bin/sh\nexec sh\n', { mode: 0o755 });
writeFileSync(join(tree, 'bin/data'), 'x'.repeat(5000));
const cpio = (form = 'newc') =>
  execFileSync('cpio', ['-o', '-H', form, '--quiet', '-D', tree], { input: '.\ninit\nbin\nbin/data\n' });
const packed = (program: string, ...args: string[]) => execFileSync(program, args, { input: cpio() });
const PACKED: Readonly<Record<string, () => Buffer>> = {
  gzip: () => packed('gzip', '-c'),
  xz: () => packed('xz', '-c', '--check=crc32'),
  zstd: () => packed('zstd', '-c', '-q'),
  lz4: () => packed('lz4', '-c', '-l', '-q'),
};
const images = createImageStore({ dataDir: join(folder, 'data') });
let next = 0;
async function importOne(content: Buffer) {
  const path = join(folder, `file-${next++}`);
  writeFileSync(path, content);
  const [one] = await (await images).importFile(path, { reference: 'x:1', signal });
  return one!.facts;
}

test('a plain archive tells how much is in it; microcode may come before what is packed', async () => {
  const facts = { format: 'cpio', packing: 'none', archives: 1, entries: 4 };
  const whole = await importOne(cpio());
  expect(whole).toMatchObject({ kind: 'initramfs', source: 'import: initramfs', facts });
  expect(whole.arch).toBeUndefined();
  expect(readFileSync((await images).blobPath(whole.digest))).toEqual(cpio());
  for (const [packing, pack] of Object.entries(PACKED))
    expect(readInitramfs(bytesOf(Buffer.concat([cpio(), pack()])))).toEqual({
      ...facts,
      packing,
      archives: 2,
    });
  expect(readInitramfs(bytesOf(Buffer.concat([cpio(), Buffer.alloc(512), cpio()])))).toEqual({
    ...facts,
    ...{ archives: 2, entries: 8 },
  });
});

test.each(Object.entries(PACKED))('packed by %s it is told, and stored as it is', async (packing, pack) => {
  const content = pack();
  const facts = await importOne(content);
  expect(facts).toMatchObject({ kind: 'initramfs', sizeBytes: content.length, facts: { packing } });
  expect(readFileSync((await images).blobPath(facts.digest))).toEqual(content);
});

test('what no kernel unpacks, or what is cut off, is refused with the reason', async () => {
  await expect(importOne(cpio('odc'))).rejects.toThrow(/old form.*newc/);
  await expect(importOne(packed('lz4', '-c', '-q'))).rejects.toThrow(/lz4 -l/);
  await expect(importOne(cpio().subarray(0, 700))).rejects.toThrow(/cut off/);
  await expect(importOne(Buffer.concat([cpio(), Buffer.from('and more')]))).rejects.toThrow(/neither cpio/);
  const damaged = cpio();
  damaged.write('FFFFFFFF', 6 + 11 * 8, 'latin1');
  await expect(importOne(damaged)).rejects.toMatchObject({ code: 'image_invalid' });
  await expect(importOne(packed('xz', '-c').subarray(0, 90))).rejects.toMatchObject({
    code: 'image_invalid',
  });
});

test(`changed at random, cut off or noise, it is read or refused, and nothing outside is asked for (seed ${seed})`, () => {
  const whole = Buffer.concat([cpio(), PACKED.gzip!()]);
  const change = fc.record({ at: fc.nat(whole.length - 1), text: fc.constantFrom('F', '0', '7', '\0', 'z') });
  const wrong = fc.record({
    changes: fc.array(change, { maxLength: 6 }),
    keep: fc.option(fc.nat(whole.length), { nil: undefined }),
    noise: fc.uint8Array({ maxLength: 300 }),
  });
  fc.assert(
    fc.property(wrong, ({ changes, keep, noise }) => {
      const content = Buffer.concat([whole.subarray(0, keep ?? whole.length), noise]);
      for (const { at, text } of changes) if (at < content.length) content.write(text, at, 'latin1');
      const source = new ByteSource(content.length, (into, at) => {
        expect(at >= 0 && at + into.length <= content.length).toBe(true);
        return content.copy(into, 0, at, at + into.length);
      });
      try {
        const facts = readInitramfs(source);
        expect(facts.entries).toBeLessThan(100);
      } catch (error) {
        expect(error).toBeInstanceOf(SkerryError);
        expect((error as SkerryError).code).toBe('image_invalid');
      }
      isCpioInLz4(content);
      isCpioInLz4(Buffer.concat([Buffer.from([2, 0x21, 0x4c, 0x18]), noise]));
      recogniseContent(content, content.subarray(-512));
    }),
    { seed, numRuns: 500 },
  );
});
