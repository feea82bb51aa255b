/** A file that a user named, or `-` for standard input. */
import { readFileSync } from 'node:fs';
import { SkerryError } from '@skerry/model';

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of its path is no folder',
  EACCES: 'this user may not read it',
};

/** Why a file could not be read, in words. */
export const whyUnread = (cause: unknown): string =>
  REASONS[(cause as NodeJS.ErrnoException).code ?? ''] ?? (cause as Error).message;

/** Errors: request_invalid with the reason in words. */
export function readTextFile(path: string): string {
  try {
    return readFileSync(path === '-' ? 0 : path, 'utf8');
  } catch (cause) {
    throw new SkerryError('request_invalid', `${path} can not be read: ${whyUnread(cause)}`, { cause });
  }
}
