/**
 * The record of an image in which a unikernel is packed: its kernel and what that loads are blobs of their own, and the
 * inspector has looked at them. What the documents declare stands only where the files themselves tell nothing.
 */
import { SkerryError } from '@skerry/model';
import type { ImageRecord } from '../../content/records.ts';
import { withFileBytes } from '../../unikernel/byte-source.ts';
import { inspectKernel } from '../../unikernel/inspect.ts';
import type { KernelFacts } from '../../unikernel/kernel-facts.ts';
import type { FoundImage } from '../finish.ts';
import type { Declared } from './declared.ts';
import { extractFiles, type Stage } from './extract.ts';

/** Errors: image_invalid with what is missing or no kernel, disk_full, cancelled. */
export async function packedUnikernel(
  image: FoundImage,
  declared: Declared,
  stage: Stage,
  signal: AbortSignal,
): Promise<ImageRecord> {
  const { kernel: kernelPath, initrd: initrdPath } = declared;
  const wanted = new Set([kernelPath, ...(initrdPath === undefined ? [] : [initrdPath])]);
  const files = await extractFiles(image.layers, wanted, stage, signal);
  const kernel = files.get(kernelPath);
  const initrd = initrdPath === undefined ? undefined : files.get(initrdPath);
  const lacks = (path: string) =>
    new SkerryError(
      'image_invalid',
      `the image declares a unikernel (${declared.packaging}) and lacks /${path}`,
    );
  if (!kernel) throw lacks(kernelPath);
  if (!initrd && declared.initrdNeeded) throw lacks(initrdPath!);
  const looked = withFileBytes(kernel.path, inspectKernel);
  const facts = merged(looked, declared, initrd && declared.family === 'hermit' ? initrd.path : undefined);
  const { digest, source, metadata } = image;
  const own = [kernel, ...(initrd ? [initrd] : [])];
  const blobs = [...metadata, ...own];
  return {
    facts: {
      ...{ kind: 'unikernel', digest, arch: facts.arch, source },
      sizeBytes: blobs.reduce((sum, blob) => sum + blob.sizeBytes, 0),
      facts: {
        ...facts,
        kernel: kernel.digest,
        ...(initrd ? { initrd: initrd.digest } : {}),
        ...(declared.command.length > 0 ? { command: declared.command } : {}),
        ...(declared.env.length > 0 ? { env: declared.env } : {}),
        packaging: declared.packaging,
        ...(declared.hypervisor === undefined ? {} : { hypervisor: declared.hypervisor }),
      },
    },
    blobs: [...new Set(blobs.map((blob) => blob.digest))],
  };
}

/** A family that the kernel shows itself counts more than one that is declared. Errors: image_invalid. */
function merged(looked: KernelFacts, declared: Declared, hermitApp: string | undefined): KernelFacts {
  const family = looked.family === 'generic' ? (declared.family ?? 'generic') : looked.family;
  const version = looked.version ?? declared.version;
  const why = declared.why ?? looked.why;
  const facts: KernelFacts = {
    ...{ ...looked, family, runnable: looked.runnable && declared.why === undefined },
    ...(version === undefined ? {} : { version }),
    ...(why === undefined ? {} : { why }),
  };
  if (hermitApp === undefined) return facts;
  const app = withFileBytes(hermitApp, inspectKernel);
  if (app.family !== 'hermit')
    throw new SkerryError(
      'image_invalid',
      "the image holds Hermit's loader and no application of Hermit beside it",
    );
  return { ...facts, family: 'hermit', ...(app.hermit ? { hermit: app.hermit } : {}) };
}
