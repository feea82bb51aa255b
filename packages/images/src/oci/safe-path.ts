/** Names in archives come from strangers: whether one stays inside the folder that it is unpacked into. */
import { posix } from 'node:path';

/** `a/b` of an entry name; undefined where the name is absolute or climbs out. */
export function insideName(name: string): string | undefined {
  if (name.includes('\0') || name.startsWith('/')) return undefined;
  const normal = posix.normalize(name).replace(/\/$/, '');
  return normal === '..' || normal.startsWith('../') ? undefined : normal;
}

/** Where a symbolic link inside an archive leads, relative to its root; undefined where it leads out. */
export function insideLink(name: string, target: string): string | undefined {
  if (target.startsWith('/')) return undefined;
  return insideName(posix.join(posix.dirname(name), target));
}
