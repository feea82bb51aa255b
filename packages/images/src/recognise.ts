/** Tells from its first bytes what a file is that somebody wants to import. Names and endings are not asked: they lie. */
import { type FileHandle, open, stat } from 'node:fs/promises';
import { SkerryError } from '@skerry/model';
import { type Compression, compressionOf } from './content/compression.ts';
import { bytesOfDisk } from './disk/disk-bytes.ts';
import { fileSystemOf } from './disk/file-system.ts';
import type { AnyDiskFormat } from './disk/import-disk.ts';
import { QCOW2_MAGIC } from './disk/qcow2.ts';
import { VDI_SIGNATURE, VDI_SIGNATURE_AT } from './disk/vdi.ts';
import { VHD_COOKIE, VHD_FOOTER_BYTES } from './disk/vhd.ts';
import { VHDX_SIGNATURE } from './disk/vhdx.ts';
import { isCpio, isCpioInLz4 } from './initramfs/cpio.ts';
import { ISO_MAGIC, ISO_MAGIC_AT } from './iso/iso.ts';

export type Recognised =
  | { readonly what: 'folder' | 'kernel' | 'iso' }
  | { readonly what: 'tar' }
  | { readonly what: 'initramfs'; readonly packing: 'none' | 'lz4' }
  | { readonly what: 'compressed'; readonly compression: Exclude<Compression, 'none'> }
  | { readonly what: 'disk'; readonly format: AnyDiskFormat };

/** As far as the mark of btrfs at 64 KiB. */
const HEAD_BYTES = 66 * 1024;
const MULTIBOOT_MAGIC = Buffer.from([0x02, 0xb0, 0xad, 0x1b]);
/** Where the Multiboot specification 0.6.96 looks for it. */
const MULTIBOOT_BYTES = 8192;

const starts = (...bytes: number[]) => Buffer.from(bytes);
const VMDK_APART =
  'it is the description of a vmdk disk whose data is in other files: make one file of it with qemu-img convert';
/** What people try, and what they are told. */
const STRANGERS: readonly (readonly [at: number, magic: Buffer, what: string])[] = [
  [0, Buffer.from('BZh'), 'it is compressed with bzip2: unpack it with `bunzip2` first'],
  [0, starts(0x50, 0x4b, 3, 4), 'it is a zip archive: unpack it first'],
  [0, Buffer.from('hsqs'), 'it is a squashfs file system: unpack it with `unsquashfs` and import the folder'],
  [0, Buffer.from('# Disk Descriptor'), VMDK_APART],
  [0, Buffer.from('COWD'), VMDK_APART],
  [0, Buffer.from('070707'), 'it is a cpio archive of the old form: a kernel reads `cpio -H newc`'],
  [0, starts(0x04, 0x22, 0x4d, 0x18), 'it is compressed with lz4: a kernel unpacks `lz4 -l` alone'],
];

const SUPPORTED =
  'container archives (docker save, OCI), OCI layout folders, root file systems (tar or a folder), disks (raw, qcow2, vmdk, vdi, vhdx, vhd), ISO images, unikernels, Linux kernels and initramfs (cpio) are; tars, disks and initramfs also compressed with gzip, xz or zstd';

async function bytesOf(file: FileHandle, at: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  const { bytesRead } = await file.read(bytes, 0, length, at);
  return bytes.subarray(0, bytesRead);
}

const isText = (head: Buffer) =>
  head.every((byte) => byte >= 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09);

/** Also of tars before POSIX, which have no magic: the sum of the header is right. */
function isTar(head: Buffer): boolean {
  if (head.length < 512) return false;
  if (head.toString('latin1', 257, 262) === 'ustar') return true;
  const said = Number.parseInt(
    head
      .toString('latin1', 148, 156)
      .replace(/[\0 ]+$/, '')
      .trim(),
    8,
  );
  let sum = 0;
  for (let i = 0; i < 512; i++) sum += i >= 148 && i < 156 ? 0x20 : head[i]!;
  return head[0] !== 0 && sum === said;
}

const has = (head: Buffer, at: number, magic: Buffer) => head.subarray(at, at + magic.length).equals(magic);

/** Of what a file holds; the tail is its last 512 bytes. Undefined: none of what is known. */
export function recogniseContent(head: Buffer, tail: Buffer): Recognised | undefined {
  const disk = (format: AnyDiskFormat) => ({ what: 'disk', format }) as const;
  const compression = compressionOf(head);
  if (compression !== 'none') return { what: 'compressed', compression };
  if (head.length >= 4 && head.readUInt32BE(0) === 0x7f454c46) return { what: 'kernel' };
  if (head.length >= 4 && head.readUInt32BE(0) === QCOW2_MAGIC) return disk('qcow2');
  if (has(head, 0, Buffer.from('KDMV'))) return disk('vmdk');
  if (has(head, 0, VHDX_SIGNATURE)) return disk('vhdx');
  if (head.length >= 512 && head.readUInt32LE(VDI_SIGNATURE_AT) === VDI_SIGNATURE) return disk('vdi');
  if (has(head, 0, VHD_COOKIE) || has(tail, 0, VHD_COOKIE)) return disk('vpc');
  if (has(head, ISO_MAGIC_AT, ISO_MAGIC)) return { what: 'iso' };
  if (isCpio(head)) return { what: 'initramfs', packing: 'none' };
  if (isCpioInLz4(head)) return { what: 'initramfs', packing: 'lz4' };
  if (isTar(head)) return { what: 'tar' };
  // Linux' boot header before the boot sector: a bzImage has both. The UEFI program and arm64's kernel are told, too.
  if (has(head, 0x202, Buffer.from('HdrS')) || has(head, 56, Buffer.from('ARMd'))) return { what: 'kernel' };
  if (has(head, 0, Buffer.from('MZ'))) return { what: 'kernel' };
  if (has(head, 510, starts(0x55, 0xaa)) || has(head, 512, Buffer.from('EFI PART'))) return disk('raw');
  if (!has(head, 0, Buffer.from('hsqs')) && fileSystemOf(bytesOfDisk(head))) return disk('raw');
  if (head.subarray(0, MULTIBOOT_BYTES).includes(MULTIBOOT_MAGIC)) return { what: 'kernel' };
  return undefined;
}

/** Errors: image_not_found (no such file), image_invalid with what the file is instead. */
export async function recognise(path: string): Promise<Recognised> {
  const about = await stat(path).catch((cause) => {
    throw new SkerryError('image_not_found', `${path} can not be read: ${(cause as Error).message}`, {
      cause,
    });
  });
  if (about.isDirectory()) return { what: 'folder' };
  if (!about.isFile()) throw new SkerryError('image_invalid', `${path} is neither a file nor a folder`);
  if (about.size === 0) throw new SkerryError('image_invalid', 'the file is empty');
  const file = await open(path, 'r');
  try {
    const head = await bytesOf(file, 0, HEAD_BYTES);
    const tail = await bytesOf(file, Math.max(0, about.size - VHD_FOOTER_BYTES), VHD_FOOTER_BYTES);
    return recogniseContent(head, tail) ?? refuse(head);
  } finally {
    await file.close();
  }
}

function refuse(head: Buffer): never {
  const stranger = STRANGERS.find(([at, magic]) => has(head, at, magic));
  const what =
    stranger?.[2] ??
    (isText(head) ? 'it is a text; a function is made with `skerry function create`' : undefined);
  throw new SkerryError(
    'image_invalid',
    `the file is not recognised${what ? `: ${what}` : ''}. ${SUPPORTED}`,
  );
}
