/**
 * A disk of OSv carries its command line as text at byte 512 (scripts/imgedit.py of OSv): there the guest is told its
 * address, in its own layer over the image. Without words of the manifest, the image's own stay.
 */
import { closeSync, fchownSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { GUEST_GID, GUEST_UID, run } from '@skerry/host';
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
const MEMORY_BYTES = 1024 ** 3;

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
  const io = async (command: string, content?: Buffer) =>
    qemuIo(path, { path: image.disk!.path, format: baseFormat }, command, content, signal);
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
  await io(`write -q -s ${FD}/5 ${AT_BYTE} ${REGION_BYTES}`, bytes);
}

const FD = '/proc/self/fd';

/**
 * A command of qemu-io on the guest's own layer. It reads the image, which comes from a stranger: so it runs as the guests'
 * user, without a way to any file but those that it is handed, with bounds for time and memory. `content` is descriptor 5.
 */
async function qemuIo(
  path: string,
  base: { readonly path: string; readonly format: 'raw' | 'qcow2' },
  command: string,
  content: Buffer | undefined,
  signal: AbortSignal,
): Promise<string> {
  const isRoot = process.getuid?.() === 0;
  const below = {
    ...{ driver: base.format, 'read-only': true },
    file: { driver: 'file', filename: `${FD}/4`, 'read-only': true },
    ...(base.format === 'qcow2' ? { backing: null } : {}),
  };
  const own = { driver: 'qcow2', file: { driver: 'file', filename: `${FD}/3` }, backing: below };
  const words = `${path}.words`;
  writeFileSync(words, content ?? '', { mode: 0o600 });
  const files = [openSync(path, 'r+'), openSync(base.path, 'r'), openSync(words, 'r')];
  try {
    if (isRoot) for (const file of [files[0]!, files[2]!]) fchownSync(file, GUEST_UID, GUEST_GID);
    const io = [QEMU_IO, '-c', command, `json:${JSON.stringify(own)}`];
    const bounded = [`--as=${MEMORY_BYTES}`, `--cpu=${LIMIT_MS / 1000}`, '--core=0', '--', ...io];
    const user = [`--reuid=${GUEST_UID}`, `--regid=${GUEST_GID}`, '--clear-groups', '--no-new-privs', '--'];
    const [file, ...args] = isRoot
      ? ['/usr/bin/setpriv', ...user, '/usr/bin/prlimit', ...bounded]
      : ['/usr/bin/prlimit', ...bounded];
    return (await run(file!, args, { signal, timeoutMs: LIMIT_MS, files })).stdout;
  } finally {
    if (isRoot) fchownSync(files[0]!, 0, 0);
    for (const file of files) closeSync(file);
    rmSync(words, { force: true });
  }
}
