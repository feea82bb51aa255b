/** What QEMU is given to boot for an image: its kernel, what it loads beside it, the machine that suits it. */
import type { ImageContent } from '@skerry/images';
import { SkerryError } from '@skerry/model';

export interface KernelImage {
  readonly kind: 'function' | 'unikernel';
  readonly kernel: string;
  readonly initrd?: string;
  readonly machine: 'microvm' | 'q35';
  readonly family: string;
}

/** Errors: image_not_found, image_wrong_kind. */
export async function kernelImage(
  images: ImageContent,
  digest: string,
  pebblePath: string,
): Promise<KernelImage> {
  const { kind, facts } = await images.facts(digest);
  const blob = images.blobPath(digest);
  if (kind === 'function')
    return { kind, kernel: pebblePath, initrd: blob, machine: 'microvm', family: 'pebble' };
  if (kind !== 'unikernel') {
    const text = `the image is a ${kind} image, the runtime unikernel needs a kernel or a function`;
    throw new SkerryError('image_wrong_kind', text);
  }
  const { machines, family = 'generic' } = facts as { machines?: readonly string[]; family?: string };
  // Measured: families that are known boot on q35, and some of them stall on microvm.
  const machine = family === 'generic' && machines?.[0] === 'microvm' ? 'microvm' : 'q35';
  return { kind, kernel: blob, machine, family };
}
