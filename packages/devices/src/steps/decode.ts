/** A payload as a value, with the moment of its event. */
import { isUtf8 } from 'node:buffer';
import type { StreamSpec } from '@skerry/model';
import type { Item, Message, Refused } from '../message.ts';
import { fieldOf } from './expression.ts';

const DEPTH_LIMIT = 64;
/** Moments outside are damage: of a device whose clock never was set (1970), or of another unit (2100 and later). */
const MOMENTS = { from: Date.UTC(2000), until: Date.UTC(2100) } as const;

function deeperThan(value: unknown, limit: number): boolean {
  if (value === null || typeof value !== 'object') return false;
  if (limit === 0) return true;
  return Object.values(value).some((one) => deeperThan(one, limit - 1));
}

/** RFC 3339, or seconds or milliseconds since 1970. Undefined: none of it, or no moment of this century. */
export function momentOf(value: unknown): number | undefined {
  const text =
    typeof value === 'string' && /^\d{4}-\d{2}-\d{2}[T ]/.test(value) ? Date.parse(value) : undefined;
  const number = typeof value === 'number' ? (value < 1e11 ? value * 1000 : value) : undefined;
  const atMs = text ?? number;
  return atMs !== undefined && atMs >= MOMENTS.from && atMs < MOMENTS.until ? Math.round(atMs) : undefined;
}

function parsed(payload: Uint8Array, format: NonNullable<StreamSpec['format']>): unknown {
  if (format === 'bytes') return new Uint8Array(payload);
  if (!isUtf8(payload)) throw new Error('it is no UTF-8');
  const text = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString('utf8');
  if (format === 'text') return text;
  if (format === 'number') {
    const value = Number(text.trim());
    if (text.trim() === '' || !Number.isFinite(value)) throw new Error('it is no number');
    return value;
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`it is no JSON: ${(error as Error).message}`);
  }
  if (deeperThan(value, DEPTH_LIMIT)) throw new Error(`it is nested deeper than ${DEPTH_LIMIT}`);
  return value;
}

export function decode(
  message: Message,
  { format = 'json', time }: Pick<StreamSpec, 'format' | 'time'>,
): Item | Refused {
  const { id, project, device, topic, receivedAtMs, payload } = message;
  const base = { id, project, device, topic, atMs: receivedAtMs };
  try {
    const value = parsed(payload, format);
    if (time === undefined) return { ...base, value };
    const atMs = momentOf(fieldOf(value, time));
    if (atMs === undefined)
      return {
        item: { ...base, value },
        step: 'from',
        reason: `the field ${time} is no moment from 2000 to 2100`,
      };
    return { ...base, atMs, value };
  } catch (error) {
    const shown = Buffer.from(payload.subarray(0, 1000)).toString('utf8');
    return { item: { ...base, value: shown }, step: 'from', reason: (error as Error).message };
  }
}
