/** Options that are durations, and times as people read them. */
import { formatMillis, parseMillis } from '@skerry/model';

export const durationOption = (text: string): number => parseMillis(text);

/** `3m12s` since an RFC 3339 time. */
export function age(timestamp: string | undefined, now = Date.now()): string | undefined {
  return timestamp === undefined ? undefined : formatMillis(Math.max(0, now - Date.parse(timestamp)));
}
