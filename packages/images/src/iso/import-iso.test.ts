// ISO images: what xorriso makes, and what strangers make of it.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fatPartition } from '../disk/testing/build-disk.ts';
import { createImageStore } from '../image-store.ts';
import type { ImageStore } from '../port.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-iso-'));
const signal = new AbortController().signal;
let images: ImageStore;
let next = 0;
/** Boots by BIOS and by UEFI. */
let both: string;

const BIOS = ['-b', 'boot/bios.img', '-no-emul-boot', '-boot-load-size', '4'];
const UEFI = ['-eltorito-alt-boot', '-e', 'boot/efi.img', '-no-emul-boot'];
const CATALOG = ['-c', 'boot/catalog'];

function makeIso(program: string, ...options: string[]): string {
  const tree = join(folder, `tree-${next++}`);
  mkdirSync(join(tree, 'boot'), { recursive: true });
  writeFileSync(join(tree, 'boot/bios.img'), Buffer.alloc(4096, 0xeb));
  writeFileSync(join(tree, 'boot/efi.img'), fatPartition(1, [`EFI/BOOT/${program}`]));
  const path = join(folder, `image-${next++}.iso`);
  execFileSync('xorriso', ['-as', 'mkisofs', '-quiet', '-V', 'SKERRY_1', '-o', path, ...options, tree], {
    stdio: 'ignore',
  });
  return path;
}

beforeAll(async () => {
  images = await createImageStore({ dataDir: join(folder, 'data') });
  both = makeIso('BOOTX64.EFI', ...CATALOG, ...BIOS, ...UEFI);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const importOne = async (path: string) =>
  (await images.importFile(path, { reference: 'x:1', signal }))[0]!.facts;
const refusal = async (change: (iso: Buffer) => Buffer) => {
  const path = join(folder, `changed-${next++}`);
  writeFileSync(path, change(Buffer.from(readFileSync(both))));
  return images.importFile(path, { reference: 'x:1', signal }).then(
    (found) => `taken: ${JSON.stringify(found)}`,
    (error) => `${error.code}: ${error.message}`,
  );
};

describe('what is recognised', () => {
  test('name, size, and both ways of booting; it is stored as it is', async () => {
    const facts = await importOne(both);
    expect(facts).toMatchObject({
      kind: 'iso',
      arch: 'amd64',
      sizeBytes: readFileSync(both).length,
      facts: {
        volumeId: 'SKERRY_1',
        firmware: 'both',
        bootEntries: [
          { platform: 'bios', bootable: true },
          { platform: 'uefi', bootable: true },
        ],
      },
    });
    expect(readFileSync(images.blobPath(facts.digest)).equals(readFileSync(both))).toBe(true);
  });

  test('one for arm64 by UEFI alone; one that holds data and does not boot', async () => {
    const arm = makeIso('BOOTAA64.EFI', ...CATALOG, '-e', 'boot/efi.img', '-no-emul-boot');
    expect(await importOne(arm)).toMatchObject({ kind: 'iso', arch: 'arm64', facts: { firmware: 'uefi' } });
    const data = await importOne(makeIso('BOOTX64.EFI'));
    expect(data).toMatchObject({ kind: 'iso', facts: { firmware: 'unknown', bootEntries: [] } });
    expect(data.arch).toBeUndefined();
  });

  test('one that can also be written to a stick is an ISO image, not a disk', async () => {
    const iso = Buffer.from(readFileSync(both));
    iso.writeUInt16LE(0xaa55, 510);
    iso[446 + 4] = 0x17;
    iso.writeUInt32LE(1, 446 + 8);
    iso.writeUInt32LE(100, 446 + 12);
    const path = join(folder, 'hybrid.iso');
    writeFileSync(path, iso);
    expect((await importOne(path)).kind).toBe('iso');
  });
});

test('what is cut off or damaged says so, and leaves nothing', async () => {
  expect(await refusal((iso) => iso.subarray(0, iso.length - 700_000))).toMatch(
    /^image_invalid: .*cut off: it tells of/,
  );
  expect(await refusal((iso) => iso.subarray(0, 33_000))).toMatch(/^image_invalid: .*cut off/);
  const catalogAt = readFileSync(both).readUInt32LE(17 * 2048 + 71) * 2048;
  expect(await refusal((iso) => iso.fill(0x11, catalogAt, catalogAt + 32))).toMatch(
    /boot catalog is damaged/,
  );
  const far = (iso: Buffer) => {
    iso.writeUInt32LE(0xffffffff, 17 * 2048 + 71);
    return iso;
  };
  expect(await refusal(far)).toMatch(/boot catalog is missing/);
  const beyond = (iso: Buffer) => {
    iso.writeUInt32LE(0x00ffffff, catalogAt + 32 + 8);
    return iso;
  };
  expect(await refusal(beyond)).toMatch(/a boot program is missing/);
  expect(readdirSync(join(folder, 'data/images/staging'))).toEqual([]);
});
