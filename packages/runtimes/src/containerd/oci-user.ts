/**
 * Who a container runs as: `user`, `user:group`, by number or by a name of the image's own /etc/passwd and /etc/group
 * (passwd(5), group(5)). The image is hostile: its files are read without following a link, and only so far.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { SkerryError } from '@skerry/model';
import type { Mount } from './api.ts';

export interface OciUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
}

const LIMIT_BYTES = 1024 * 1024;

/** Folders of a root file system from the top down, as the mounts of a snapshot name them. */
export function layerFolders(mounts: readonly Mount[]): string[] {
  const [mount] = mounts;
  if (!mount) return [];
  if (mount.type === 'bind') return [mount.source];
  const option = (name: string) =>
    mount.options.find((text) => text.startsWith(`${name}=`))?.slice(name.length + 1);
  const upper = option('upperdir');
  return [...(upper === undefined ? [] : [upper]), ...(option('lowerdir')?.split(':') ?? [])];
}

/** A regular file below /etc in the topmost layer that has it. */
function readEtc(layers: readonly string[], name: string): string {
  for (const layer of layers) {
    const folder = join(layer, 'etc');
    if (!lstatSync(folder, { throwIfNoEntry: false })?.isDirectory()) continue;
    let file: number;
    try {
      file = openSync(join(folder, name), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue;
      return '';
    }
    try {
      if (!fstatSync(file).isFile()) return ''; // a white-out: removed in this layer
      const buffer = Buffer.alloc(LIMIT_BYTES);
      return buffer.toString('utf8', 0, readSync(file, buffer, 0, LIMIT_BYTES, 0));
    } finally {
      closeSync(file);
    }
  }
  return '';
}

const rows = (text: string) => text.split('\n').map((line) => line.split(':'));
const isNumber = (text: string) => /^\d{1,9}$/.test(text);

const inGroups = (uid: number, gid: number, more: readonly number[] = []): OciUser => ({
  ...{ uid, gid },
  additionalGids: [...new Set([gid, ...more])],
});

/**
 * An empty `user` is number 0. The primary group is among the supplementary ones, as login programs have it and Docker since
 * 20.10.18 (CVE-2022-36109): a process that changes its primary group keeps what files refuse to that group. Errors:
 * image_invalid where the image knows no such user or group.
 */
export function resolveUser(user: string, layers: readonly string[]): OciUser {
  const [name, group] = (user === '' ? '0' : user).split(':') as [string, string?];
  const entry = rows(readEtc(layers, 'passwd')).find((row) =>
    isNumber(name) ? row[2] === name : row[0] === name,
  );
  if (!entry && !isNumber(name)) throw new SkerryError('image_invalid', `the image has no user "${name}"`);
  const uid = Number(entry?.[2] ?? name);
  const groups = rows(readEtc(layers, 'group'));
  if (group !== undefined && group !== '') {
    const found = groups.find((row) => row[0] === group);
    if (!found && !isNumber(group))
      throw new SkerryError('image_invalid', `the image has no group "${group}"`);
    return inGroups(uid, Number(found?.[2] ?? group));
  }
  const gid = Number(entry?.[3] ?? 0);
  const more = entry
    ? groups.filter((row) => (row[3] ?? '').split(',').includes(entry[0]!)).map((row) => Number(row[2]))
    : [];
  return inGroups(uid, gid, more);
}
