/** What a unikernel starts from: its kernel, what is loaded beside it, its disk, and what its image tells of itself. */
import type { Family, ImageContent, Machine, Need, Solo5Facts } from '@skerry/images';
import { SkerryError } from '@skerry/model';
import { machineFor } from './families/rules.ts';
import type { ImageWords } from './families/told.ts';

export interface KernelImage {
  readonly kind: 'function' | 'unikernel';
  readonly family: Family;
  readonly machine: Machine;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly disk?: { readonly path: string; readonly format: 'raw' | 'qcow2' };
  readonly words: ImageWords;
  readonly needs: readonly Need[];
  /** False: it has no driver for a network device. */
  readonly network: boolean;
  readonly solo5?: Solo5Facts;
  readonly arch: 'amd64' | 'arm64';
  /** A Solo5 tender runs it, not QEMU. */
  readonly tender: boolean;
}

/** What the image store recorded of a unikernel; records of before have less. */
interface Recorded {
  readonly family?: Family;
  readonly arch?: 'amd64' | 'arm64';
  readonly format?: string;
  readonly boot?: string;
  readonly machines?: readonly Machine[];
  readonly runnable?: boolean;
  readonly why?: string;
  readonly needs?: readonly Need[];
  readonly network?: boolean;
  readonly version?: string;
  readonly solo5?: Solo5Facts;
  readonly diskFormat?: 'raw' | 'qcow2';
  /** Digests, where the image is packed of several files. */
  readonly kernel?: string;
  readonly initrd?: string;
  readonly command?: readonly string[];
  readonly env?: readonly string[];
}

/** Errors: image_not_found, image_wrong_kind, unsupported with what an image that was taken lacks to be started. */
export async function kernelImage(
  images: ImageContent,
  digest: string,
  pebblePath: string,
): Promise<KernelImage> {
  const { kind, facts } = await images.facts(digest);
  const always = { needs: [], network: true, arch: 'amd64', tender: false } as const;
  if (kind === 'function') {
    const beside = { kernel: pebblePath, initrd: images.blobPath(digest) };
    return { kind, family: 'pebble', machine: 'microvm', ...beside, words: {}, ...always };
  }
  if (kind !== 'unikernel') {
    const text = `the image is a ${kind} image, the runtime unikernel needs a kernel or a function`;
    throw new SkerryError('image_wrong_kind', text);
  }
  const told = facts as Recorded;
  if (told.runnable === false)
    throw new SkerryError('unsupported', `the image can not be started: ${told.why ?? 'it lacks something'}`);
  const { family = 'generic', needs = [], network = true, solo5, command, env, version } = told;
  const isDisk = told.format === 'disk';
  const initrd = told.initrd === undefined ? undefined : images.blobPath(told.initrd);
  return {
    kind,
    family,
    machine: machineFor(family, isDisk ? ['q35', 'pc'] : (told.machines ?? ['q35'])),
    ...(isDisk
      ? { disk: { path: images.blobPath(digest), format: told.diskFormat ?? 'raw' } }
      : { kernel: images.blobPath(told.kernel ?? digest) }),
    ...(initrd === undefined ? {} : { initrd }),
    words: {
      ...(command ? { command } : {}),
      ...(env ? { env } : {}),
      ...(version === undefined ? {} : { version }),
      hasInitrd: initrd !== undefined,
      arch: told.arch ?? 'amd64',
    },
    ...{ needs, network },
    ...(solo5 ? { solo5 } : {}),
    arch: told.arch ?? 'amd64',
    tender: told.boot === 'tender',
  };
}
