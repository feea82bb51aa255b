/** A file that a user named, or `-` for standard input. */
import { readFileSync } from 'node:fs';
import { SkerryError } from '@skerry/model';

/** Errors: request_invalid with the reason in words. */
export function readTextFile(path: string): string {
  try {
    return readFileSync(path === '-' ? 0 : path, 'utf8');
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    const why =
      code === 'ENOENT'
        ? 'there is no such file'
        : code === 'EISDIR'
          ? 'it is a folder'
          : (cause as Error).message;
    throw new SkerryError('request_invalid', `${path} can not be read: ${why}`, { cause });
  }
}
