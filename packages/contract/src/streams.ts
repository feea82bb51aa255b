/** What goes over the streams: watches (server-sent events), logs (JSON lines), exec and console (WebSocket). */
import type { ErrorCode } from '@skerry/model';

/** RFC 9457. `code` is stable and of the error registry; the other members beyond the RFC's come from the error's details. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: ErrorCode;
  readonly remedy: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

/**
 * One message of a watch. Without `since` it begins with a `put` for each resource that exists and then `synced`.
 * `revision` is where to resume. `reset` is the client's own: the server no longer remembers that far back, a fresh
 * beginning follows and what was known is to be forgotten.
 */
export type WatchMessage<T> =
  | { readonly type: 'put'; readonly revision: number; readonly object: T }
  | { readonly type: 'delete'; readonly revision: number; readonly project?: string; readonly name: string }
  | { readonly type: 'synced'; readonly revision: number }
  | { readonly type: 'reset' };

/** First byte of a binary frame. Channel 0 goes to the guest, the others come from it. */
export const CHANNEL = { input: 0, stdout: 1, stderr: 2 } as const;

/** Text frames to the server. */
export type TerminalRequest =
  | { readonly type: 'close-input' }
  | { readonly type: 'resize'; readonly columns: number; readonly rows: number };
/** Text frames from the server; each is the last one. */
export type TerminalReply =
  | { readonly type: 'exit'; readonly code: number }
  | { readonly type: 'error'; readonly problem: Problem };

/** Bytes of one channel as a frame. */
export function channelFrame(channel: number, data: Uint8Array): Uint8Array {
  const frame = new Uint8Array(data.length + 1);
  frame[0] = channel;
  frame.set(data, 1);
  return frame;
}
