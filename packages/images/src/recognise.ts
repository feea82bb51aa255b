/** Tells from its first bytes what a file is that somebody wants to import. Names and endings are not asked: they lie. */
import { open, stat } from 'node:fs/promises';
import { SkerryError } from '@skerry/model';
import { KERNEL_HEAD_BYTES, looksLikeKernel } from './unikernel/fingerprint.ts';

export type Recognised = 'folder' | 'archive' | 'kernel';

const HEAD_BYTES = KERNEL_HEAD_BYTES;

const starts = (...bytes: number[]) => Buffer.from(bytes);
/** What people try, and what they are told. */
const STRANGERS: readonly (readonly [at: number, magic: Buffer, what: string])[] = [
  [0, starts(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0), 'it is compressed with xz: unpack it with `unxz` first'],
  [0, starts(0x28, 0xb5, 0x2f, 0xfd), 'it is compressed with zstd: unpack it with `unzstd` first'],
  [0, Buffer.from('BZh'), 'it is compressed with bzip2: unpack it with `bunzip2` first'],
  [0, starts(0x50, 0x4b, 3, 4), 'it is a zip archive: unpack it first'],
  [0, starts(0x51, 0x46, 0x49, 0xfb), 'it is a disk image (qcow2), which no runtime of this version takes'],
  [0, Buffer.from('hsqs'), 'it is a squashfs file system, which no runtime of this version takes'],
  [0, Buffer.from('MZ'), 'it is a program for Windows'],
  [
    0,
    Buffer.from('070701'),
    'it is a cpio archive, which a kernel loads beside itself: import both as one OCI image',
  ],
  [510, starts(0x55, 0xaa), 'it is a disk image, which no runtime of this version takes'],
];

const SUPPORTED =
  'container archives (docker save, OCI; plain or gzip), OCI layout folders and unikernels (ELF with a PVH note or multiboot header, Linux boot header) are';

async function headOf(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const head = Buffer.alloc(HEAD_BYTES);
    const { bytesRead } = await file.read(head, 0, HEAD_BYTES, 0);
    return head.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

const isText = (head: Buffer) =>
  head.every((byte) => byte >= 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09);

/** Errors: image_not_found (no such file), image_invalid with what the file is instead. */
export async function recognise(path: string): Promise<Recognised> {
  const about = await stat(path).catch((cause) => {
    throw new SkerryError('image_not_found', `${path} can not be read: ${(cause as Error).message}`, {
      cause,
    });
  });
  if (about.isDirectory()) return 'folder';
  if (!about.isFile()) throw new SkerryError('image_invalid', `${path} is neither a file nor a folder`);
  if (about.size === 0) throw new SkerryError('image_invalid', 'the file is empty');
  const head = await headOf(path);
  if (head.toString('latin1', 257, 262) === 'ustar' || (head[0] === 0x1f && head[1] === 0x8b))
    return 'archive';
  if (looksLikeKernel(head)) return 'kernel';
  const stranger = STRANGERS.find(([at, magic]) => head.subarray(at, at + magic.length).equals(magic));
  const what =
    stranger?.[2] ??
    (isText(head) ? 'it is a text; a function is made with `skerry function create`' : undefined);
  throw new SkerryError(
    'image_invalid',
    `the file is not recognised${what ? `: ${what}` : ''}. ${SUPPORTED}`,
  );
}
