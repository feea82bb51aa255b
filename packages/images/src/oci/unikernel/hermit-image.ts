/** A Hermit image: a tar with hermit.toml at its root and the application (hermit-os.org). It is told what it is and what it lacks. */
import type { ImageRecord } from '../../content/records.ts';
import { withFileBytes } from '../../unikernel/byte-source.ts';
import { inspectKernel } from '../../unikernel/inspect.ts';
import type { KernelFacts } from '../../unikernel/kernel-facts.ts';
import type { StagedArchive } from '../archive.ts';

const looked = (path: string): KernelFacts | undefined => {
  try {
    return withFileBytes(path, inspectKernel);
  } catch {
    return undefined; // it is something else
  }
};

/** Undefined: it is none. */
export function hermitImage(archive: StagedArchive): ImageRecord | undefined {
  if (!archive.files.has('hermit.toml')) return undefined;
  for (const { path, digest, sizeBytes } of archive.files.values()) {
    const kernel = looked(path);
    if (kernel?.family !== 'hermit') continue;
    const facts = { ...kernel, packaging: 'hermit-image' };
    const source = 'import: Hermit image';
    return {
      facts: { kind: 'unikernel', digest, sizeBytes, arch: kernel.arch, source, facts },
      blobs: [digest],
    };
  }
  return undefined;
}
