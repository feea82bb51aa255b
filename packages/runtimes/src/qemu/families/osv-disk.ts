/**
 * A disk of OSv carries its command line as text at byte 512 (scripts/imgedit.py of OSv): there the guest is told its
 * address, in its own layer over the image. Without words of the manifest, the image's own stay.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { run } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import type { GuestSpec } from '../../port.ts';
import type { KernelImage } from '../kernel-image.ts';
import { checkWords, toldOf } from './told.ts';
import { familyWords } from './words.ts';

const QEMU_IO = '/usr/bin/qemu-io';
const AT_BYTE = 512;
/** Sectors 1 to 16: the boot code reads more, the partition tables of what was seen begin far behind. */
const REGION_BYTES = 8192;
const LIMIT_MS = 30_000;

/** `read -v` prints lines of `offset:  16 bytes in hex  text`. */
function bytesOfDump(text: string): Buffer {
  const lines = text
    .split('\n')
    .flatMap((line) => /^[0-9a-f]{8}: {2}((?:[0-9a-f]{2} ){1,16})/.exec(line)?.[1] ?? []);
  return Buffer.from(lines.join('').replaceAll(' ', ''), 'hex');
}

/** Errors: unsupported where the words are too long, host_command_failed, cancelled. */
export async function osvDiskWords(
  path: string,
  baseFormat: 'raw' | 'qcow2',
  image: KernelImage,
  spec: GuestSpec,
  signal: AbortSignal,
): Promise<void> {
  const file = { driver: 'file', filename: path };
  const base = {
    ...{
      driver: baseFormat,
      'read-only': true,
      file: { driver: 'file', filename: image.disk!.path, 'read-only': true },
    },
    ...(baseFormat === 'qcow2' ? { backing: null } : {}),
  };
  const target = `json:${JSON.stringify({ driver: 'qcow2', file, backing: base })}`;
  const io = async (command: string) =>
    (await run(QEMU_IO, ['-c', command, target], { signal, timeoutMs: LIMIT_MS })).stdout;
  const before = bytesOfDump(await io(`read -v ${AT_BYTE} ${REGION_BYTES}`));
  const end = before.indexOf(0);
  const imageWords = before.toString('latin1', 0, Math.max(end, 0)).trim();
  const told = toldOf(spec, image.words, { nowMs: 0, seed: '' });
  const words = checkWords(
    told.own.length > 0
      ? familyWords('osv', told)
      : `${familyWords('osv', { ...told, own: [] })} ${imageWords}`,
    spec.name,
  );
  const bytes = Buffer.alloc(REGION_BYTES);
  if (bytes.write(words) !== Buffer.byteLength(words) || Buffer.byteLength(words) >= REGION_BYTES)
    throw new SkerryError(
      'unsupported',
      `the command line of ${spec.name} is longer than ${REGION_BYTES - 1} bytes`,
    );
  const pattern = `${path}.words`;
  try {
    writeFileSync(pattern, bytes);
    await io(`write -q -s ${pattern} ${AT_BYTE} ${REGION_BYTES}`);
  } finally {
    rmSync(pattern, { force: true });
  }
}
