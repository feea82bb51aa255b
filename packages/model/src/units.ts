/**
 * Quantities as people write them (`64MiB`, `5ms`, `100Mbit`, `0.5`) to numbers in one fixed unit, and back.
 * Parsed at the edge only; inside, numbers carry their unit in their name or brand.
 */
import { SkerryError } from './errors.ts';
import type { Brand } from './ids.ts';

export type Bytes = Brand<number, 'bytes'>;
export type Millis = Brand<number, 'millis'>;
export type BitsPerSecond = Brand<number, 'bits/s'>;
export type Generation = Brand<number, 'generation'>;

const BYTES: Record<string, number> = {
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
};
const MILLIS: Record<string, number> = { us: 0.001, ms: 1, s: 1e3, m: 60e3, h: 3600e3, d: 86_400e3 };
const BITS: Record<string, number> = { bit: 1, kbit: 1e3, Kbit: 1e3, Mbit: 1e6, Gbit: 1e9, Tbit: 1e12 };

function parse(text: string | number, units: Record<string, number>, what: string, example: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]+)$/.exec(String(text).trim());
  const factor = match ? units[match[2]!] : undefined;
  if (!match || factor === undefined) {
    const known = Object.keys(units).join(', ');
    throw new SkerryError(
      'request_invalid',
      `"${text}" is not ${what}: write it like ${example} (units: ${known})`,
    );
  }
  const value = Number(match[1]) * factor;
  if (!Number.isFinite(value) || value > Number.MAX_SAFE_INTEGER) {
    throw new SkerryError('request_invalid', `"${text}" is not ${what}: the number is too large`);
  }
  return value;
}

/** `64MiB` -> 67108864. A bare number is refused: its unit would be a guess. */
export const parseBytes = (text: string): Bytes => Math.round(parse(text, BYTES, 'a size', '64MiB')) as Bytes;
/** `5s` -> 5000. Fractions of a millisecond are kept. */
export const parseMillis = (text: string): Millis => parse(text, MILLIS, 'a duration', '5s') as Millis;
/** `100Mbit` -> 100000000 bits a second. */
export const parseBandwidth = (text: string): BitsPerSecond =>
  Math.round(parse(text, BITS, 'a bandwidth', '100Mbit')) as BitsPerSecond;

/** Bytes for people: `64MiB`, `1.5GiB`. */
export function formatBytes(bytes: number): string {
  for (const unit of ['TiB', 'GiB', 'MiB', 'KiB'] as const) {
    const size = bytes / BYTES[unit]!;
    if (size >= 1) return `${Number(size.toFixed(size >= 100 ? 0 : 1))}${unit}`;
  }
  return `${bytes}B`;
}

/** Milliseconds for people: `850ms`, `4.2s`, `3m12s`, `2h05m`, `3d4h`. */
export function formatMillis(ms: number): string {
  if (ms < 1000) return `${Number(ms.toFixed(ms < 10 ? 1 : 0))}ms`;
  if (ms < 60e3) return `${Number((ms / 1e3).toFixed(1))}s`;
  const pad = (n: number) => String(Math.floor(n)).padStart(2, '0');
  if (ms < 3600e3) return `${Math.floor(ms / 60e3)}m${pad((ms % 60e3) / 1e3)}s`;
  if (ms < 86_400e3) return `${Math.floor(ms / 3600e3)}h${pad((ms % 3600e3) / 60e3)}m`;
  return `${Math.floor(ms / 86_400e3)}d${Math.floor((ms % 86_400e3) / 3600e3)}h`;
}
