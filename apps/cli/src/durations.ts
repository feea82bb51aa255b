/** Times as people read them. */
import { formatMillis } from '@skerry/model';

/** `3m12s` since an RFC 3339 time. */
export function age(timestamp: string | undefined, now = Date.now()): string | undefined {
  return timestamp === undefined ? undefined : formatMillis(Math.max(0, now - Date.parse(timestamp)));
}
