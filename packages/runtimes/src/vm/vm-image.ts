/** What a virtual machine boots from, as its image was recognised, and checked once more before anything opens it. */
import { stat } from 'node:fs/promises';
import type { ImageContent } from '@skerry/images';
import { SkerryError } from '@skerry/model';
import type { VmGuest } from '../port.ts';
import type { Arch } from './machine.ts';
import { checkQcow2 } from './qcow2-header.ts';

export interface VmImage {
  readonly kind: 'disk' | 'iso';
  readonly path: string;
  readonly format: 'raw' | 'qcow2';
  readonly virtualSizeBytes: number;
  /** What it was made for. */
  readonly firmware: 'bios' | 'uefi';
  readonly arch: Arch;
}

const ARCHES: Readonly<Record<string, Arch>> = {
  amd64: 'amd64',
  x86_64: 'amd64',
  arm64: 'arm64',
  aarch64: 'arm64',
};

/** Errors: image_not_found, image_wrong_kind, image_invalid, unsupported (an architecture that is not known). */
export async function vmImage(images: ImageContent, digest: string, kernelDigest?: string): Promise<VmImage> {
  const { kind, facts, arch: told } = await images.facts(digest);
  // a bare file system does not tell what it is for: the kernel beside it does
  const beside = kernelDigest === undefined ? undefined : await images.facts(kernelDigest);
  const archName = told ?? beside?.arch ?? 'amd64';
  const path = images.blobPath(digest);
  if (kind !== 'disk' && kind !== 'iso') {
    const text = `the image is a ${kind} image, the runtime vm needs a disk or an ISO image`;
    throw new SkerryError('image_wrong_kind', text);
  }
  const arch = ARCHES[archName];
  if (!arch) throw new SkerryError('unsupported', `virtual machines of ${archName} are not offered`);
  const about = facts as { format?: unknown; firmware?: unknown };
  // arm64's board has UEFI alone; where both would do, the BIOS is quicker (machine.ts)
  const firmware = arch === 'arm64' || about.firmware === 'uefi' ? 'uefi' : 'bios';
  const format = kind === 'disk' && about.format === 'qcow2' ? 'qcow2' : 'raw';
  const { virtualSizeBytes } =
    format === 'qcow2' ? await checkQcow2(path) : { virtualSizeBytes: (await stat(path)).size };
  return { kind, path, format, virtualSizeBytes, firmware, arch };
}

/** A kernel that is loaded without firmware of its own, and what is loaded beside it. */
export interface BootFiles {
  readonly kernel: string;
  readonly initrd?: string;
  readonly arguments: string;
  /** Of both: QEMU keeps in its memory what it loads, for the next reset. */
  readonly heldBytes: number;
}

/** Errors: image_not_found, image_wrong_kind, unsupported (for another processor than the disk's). */
export async function bootFiles(
  images: ImageContent,
  { kernelDigest, initrdDigest, arguments: words }: NonNullable<VmGuest['boot']>,
  arch: Arch,
): Promise<BootFiles> {
  const { kind, facts, arch: archName = 'amd64' } = await images.facts(kernelDigest);
  const told = facts as { family?: unknown; runnable?: unknown; kernel?: unknown };
  if (kind !== 'unikernel' || told.family !== 'linux' || told.runnable === false)
    throw new SkerryError('image_wrong_kind', 'the kernel is no Linux kernel that QEMU can load');
  if (ARCHES[archName] !== arch)
    throw new SkerryError('unsupported', `the kernel is for ${archName}, and the disk is of ${arch}`);
  // one that came packed with other files has a digest of its own
  const kernel = images.blobPath(typeof told.kernel === 'string' ? told.kernel : kernelDigest);
  const { size } = await stat(kernel);
  if (initrdDigest === undefined) return { kernel, arguments: words, heldBytes: size };
  const beside = await images.facts(initrdDigest);
  if (beside.kind !== 'initramfs')
    throw new SkerryError(
      'image_wrong_kind',
      `the initrd is a ${beside.kind} image, it has to be an initramfs`,
    );
  const initrd = images.blobPath(initrdDigest);
  return { kernel, initrd, arguments: words, heldBytes: size + (await stat(initrd)).size };
}

/** Path of the ISO image of an additional CD. Errors: image_not_found, image_wrong_kind. */
export async function cdromPath(images: ImageContent, digest: string): Promise<string> {
  const { kind } = await images.facts(digest);
  if (kind === 'iso') return images.blobPath(digest);
  throw new SkerryError('image_wrong_kind', `the CD is a ${kind} image, it has to be an ISO image`);
}
