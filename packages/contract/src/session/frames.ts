/**
 * What goes over the one connection between an agent and its controller: JSON texts, one for each frame. Either side may
 * ask; an answer carries the number of its question.
 *
 *   asks:     call -> value | failed          open -> item … end | failed      more (room for items)   cancel
 */
import type { Problem } from '../streams.ts';

export type Frame =
  | {
      readonly t: 'call' | 'open';
      readonly id: number;
      readonly method: string;
      readonly params: unknown;
      readonly room?: number;
    }
  | { readonly t: 'more'; readonly id: number; readonly room: number }
  | { readonly t: 'cancel'; readonly id: number }
  | { readonly t: 'value' | 'item'; readonly id: number; readonly value: unknown }
  | { readonly t: 'end'; readonly id: number }
  | { readonly t: 'failed'; readonly id: number; readonly problem: Problem };

const KINDS = new Set(['call', 'open', 'more', 'cancel', 'value', 'item', 'end', 'failed']);

/** Undefined where the text is no frame: whoever sent it does not keep to the protocol. */
export function parseFrame(text: string): Frame | undefined {
  try {
    const frame = JSON.parse(text) as Frame;
    if (typeof frame !== 'object' || frame === null || !KINDS.has(frame.t)) return undefined;
    if (!Number.isSafeInteger(frame.id) || frame.id < 0) return undefined;
    if ((frame.t === 'call' || frame.t === 'open') && typeof frame.method !== 'string') return undefined;
    if (frame.t === 'more' && !(Number.isSafeInteger(frame.room) && frame.room > 0)) return undefined;
    return frame;
  } catch {
    return undefined;
  }
}
