/** References of images: `[host[:port]/]path[:tag][@digest]`, with Docker's defaults (distribution/reference). */
import { SkerryError } from '@skerry/model';

export interface Reference {
  readonly registry: string;
  readonly repository: string;
  readonly tag: string | undefined;
  readonly digest: string | undefined;
}

const PART = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;

/** Errors: request_invalid with the part that is wrong. */
export function parseReference(text: string): Reference {
  const wrong = (why: string) =>
    new SkerryError('request_invalid', `"${text}" is no image reference: ${why}`);
  if (text.length > 512) throw wrong('it is longer than 512 characters');
  const [before, digest, more] = text.split('@');
  if (more !== undefined) throw wrong('it has more than one @');
  if (digest !== undefined && !/^sha256:[0-9a-f]{64}$/.test(digest))
    throw wrong('the digest is not sha256: and 64 hex digits');
  const parts = before!.split('/');
  const hasHost = parts.length > 1 && (/[.:]/.test(parts[0]!) || parts[0] === 'localhost');
  const host = hasHost ? parts.shift()! : 'docker.io';
  if (!/^[A-Za-z0-9.-]+(:\d{1,5})?$|^\[[0-9a-fA-F:]+\](:\d{1,5})?$/.test(host))
    throw wrong(`"${host}" is no host`);
  const last = parts.pop() ?? '';
  const [name, tag, extra] = last.split(':');
  if (extra !== undefined) throw wrong('it has more than one tag');
  if (tag !== undefined && !/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/.test(tag))
    throw wrong(`"${tag}" is no tag`);
  const path = [...parts, name!];
  for (const part of path) if (!PART.test(part)) throw wrong(`"${part}" is no part of a repository name`);
  if (host === 'docker.io' && path.length === 1) path.unshift('library');
  return {
    registry: host,
    repository: path.join('/'),
    tag: tag ?? (digest === undefined ? 'latest' : undefined),
    digest,
  };
}
