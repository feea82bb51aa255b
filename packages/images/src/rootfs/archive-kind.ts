/**
 * Whether a tar holds a container image or a root file system, from the names of its first entries: container archives have
 * none but their own (`blobs/`, `manifest.json`, names of digests), root file systems have `bin`, `etc`, `usr`.
 */
import { pipeline } from 'node:stream/promises';
import { SkerryError } from '@skerry/model';
import { type Compression, unpackedBytes } from '../content/compression.ts';
import { readTar } from '../content/read-tar.ts';
import { countUnpacked } from '../oci/unpacked.ts';

export type ArchiveKind = 'container' | 'rootfs' | 'unknown';

const CONTAINER = /^(blobs|oci-layout|index\.json|manifest\.json|repositories|[0-9a-f]{64}(\.(json|tar))?)$/;
const ROOT =
  /^(bin|boot|dev|etc|home|init|lib|lib32|lib64|libx32|linuxrc|lost\+found|media|mnt|opt|proc|root|run|sbin|srv|sys|tmp|usr|var)$/;
/** Nobody puts more in front of what tells. */
const LOOKED_AT = 10_000;

/** `./usr/bin` has `usr`. */
export function kindOfName(name: string): ArchiveKind {
  const first = name.split('/').find((part) => part !== '' && part !== '.') ?? '';
  if (CONTAINER.test(first)) return 'container';
  return ROOT.test(first) ? 'rootfs' : 'unknown';
}

/** Reads no more than it needs. A damaged archive is `unknown`: who reads it in earnest tells. Errors: cancelled, host_missing. */
export async function archiveKind(
  path: string,
  compression: Compression,
  signal: AbortSignal,
): Promise<ArchiveKind> {
  let kind: ArchiveKind = 'unknown';
  const told = new AbortController();
  const both = AbortSignal.any([signal, told.signal]);
  const tar = readTar();
  let entries = 0;
  tar.on('entry', (header, stream, next) => {
    stream.on('error', () => undefined); // the pipeline has it
    kind = kindOfName(header.name);
    if (kind !== 'unknown' || ++entries >= LOOKED_AT) return told.abort();
    stream.on('end', () => next());
    stream.resume();
  });
  await pipeline(unpackedBytes(path, compression, 'the archive', both), countUnpacked('the archive'), tar, {
    signal: both,
  }).catch((error) => {
    if (signal.aborted) throw new SkerryError('cancelled', 'the import was cancelled', { cause: error });
    if (error instanceof SkerryError && error.code === 'host_missing') throw error;
  });
  return kind;
}
