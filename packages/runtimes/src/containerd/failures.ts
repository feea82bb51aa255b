/** From what containerd and runc say to the errors that users see. */
import { SkerryError } from '@skerry/model';
import { EngineFailure, isUnavailable } from './client.ts';

/** runc's own words, without the tale of who called whom. */
export function lastCause(text: string): string {
  return text
    .replace(/^.*(?:runc create failed|runc exec failed|OCI runtime \w+ failed): /s, '')
    .replace(/^unable to start container process: /, '')
    .replace(/: unknown$/, '')
    .slice(0, 500);
}

/** `code` is what a failure means at this place where nothing more is known of it. */
export function translate(
  error: unknown,
  code: 'guest_start_failed' | 'exec_failed' | 'image_invalid' | 'internal',
  what: string,
): unknown {
  if (!(error instanceof EngineFailure)) {
    return (error as NodeJS.ErrnoException)?.code === 'ENOSPC' ? full(what, error) : error;
  }
  if (isUnavailable(error)) {
    return new SkerryError('engine_unavailable', `${what}: containerd did not answer (${error.method})`, {
      cause: error,
    });
  }
  if (/no space left on device|disk quota exceeded/i.test(error.message)) return full(what, error);
  return new SkerryError(code, `${what}: ${lastCause(error.message)}`, { cause: error });
}

const full = (what: string, cause: unknown) =>
  new SkerryError('disk_full', `${what}: no space on the file system of the data folder`, { cause });
