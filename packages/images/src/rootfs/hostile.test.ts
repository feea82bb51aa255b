// Archives of root file systems from strangers: whatever stands in their headers, they are examined or refused, soon.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SkerryError } from '@skerry/model';
import { tarOf } from '@skerry/testkit';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { archiveKind } from './archive-kind.ts';
import { examineRootfs } from './examine.ts';
import { RootTree } from './root-tree.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-hostile-root-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const signal = new AbortController().signal;
const seed = Date.now() % 2 ** 31;
const LIMIT_MS = 5000;

test(`headers changed at random, or cut off (seed ${seed})`, async () => {
  const whole = await tarOf([
    { name: './bin/busybox', body: '\x7fELF' },
    { name: './sbin/init', type: 'symlink', linkname: '/bin/busybox' },
    { name: './bin/sh', type: 'link', linkname: './bin/busybox' },
    { name: './dev/null', type: 'character-device', devmajor: 1, devminor: 3 },
    { name: `./usr/${'long/'.repeat(40)}name`, body: 'x' },
    { name: './etc/os-release', body: 'ID=debian\n' },
  ]);
  const header = fc.nat(whole.length / 512 - 1);
  const change = fc.record({ header, field: fc.nat(511), value: fc.nat(255), sum: fc.boolean() });
  const path = join(folder, 'root.tar');
  await fc.assert(
    fc.asyncProperty(
      fc.array(change, { maxLength: 4 }),
      fc.option(fc.nat(whole.length)),
      async (changes, keep) => {
        const bytes = Buffer.from(whole);
        for (const { header: block, field, value, sum } of changes) {
          bytes[block * 512 + field] = value;
          if (sum) rightSum(bytes.subarray(block * 512, block * 512 + 512)); // else the sum alone refuses it
        }
        writeFileSync(path, bytes.subarray(0, keep ?? whole.length));
        const begin = performance.now();
        await archiveKind(path, 'none', signal);
        await examineRootfs(path, 'none', signal, () => undefined).catch((error) => {
          if (!(error instanceof SkerryError)) throw error;
          expect(error.code).toBe('image_invalid');
        });
        expect(performance.now() - begin).toBeLessThan(LIMIT_MS);
      },
    ),
    { seed, numRuns: 300 },
  );
});

test('a size that is no number is refused, rather than waited for', async () => {
  const whole = await tarOf([
    { name: './bin/sh', body: '\x7fELF' },
    { name: './etc/os-release', body: 'ID=debian\n' },
  ]);
  whole[124] = 0x90; // base 256, but for its first byte
  rightSum(whole.subarray(0, 512));
  const path = join(folder, 'unsized.tar');
  writeFileSync(path, whole);
  await expect(examineRootfs(path, 'none', signal, () => undefined)).rejects.toThrow(
    /image_invalid|size of the entry ".\/bin\/sh" can not be read/,
  );
  await archiveKind(path, 'none', signal);
});

function rightSum(header: Buffer): void {
  header.fill(0x20, 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}

test(`links of any kind are followed to an end, and never out of the root (seed ${seed})`, () => {
  const part = fc.constantFrom('a', 'b', 'c', '..', '.', '');
  const name = fc.array(part, { maxLength: 6 }).map((parts) => parts.join('/'));
  const target = fc.tuple(fc.constantFrom('', '/'), name).map((parts) => parts.join(''));
  fc.assert(
    fc.property(fc.array(fc.tuple(name, target), { maxLength: 12 }), name, (links, asked) => {
      const tree = new RootTree();
      for (const [from, to] of links) tree.addLink(from, to);
      const end = tree.resolve(asked);
      expect(end === undefined || (!end.startsWith('/') && !end.split('/').includes('..'))).toBe(true);
    }),
    { seed, numRuns: 3000 },
  );
});
