/**
 * Identifiers and names. A ULID sorts by its time of making; a name is what people type.
 * Nothing here reads a clock or a random source unless it is called.
 */
import { randomBytes } from 'node:crypto';

declare const brand: unique symbol;
export type Brand<T, B extends string> = T & { readonly [brand]: B };

/** An identifier of one resource of the kind `K`: 26 characters, Crockford's base 32 (github.com/ulid/spec). */
export type Id<K extends string> = Brand<string, `id:${K}`>;

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

/** A new ULID in lower case: 48 bits of milliseconds, 80 random bits. */
export function newId<K extends string>(nowMs: number = Date.now()): Id<K> {
  let time = '';
  for (let rest = nowMs, i = 0; i < 10; i++) {
    time = ALPHABET[rest % 32] + time;
    rest = Math.floor(rest / 32);
  }
  let random = '';
  for (const byte of randomBytes(16)) random += ALPHABET[byte & 31];
  return `${time}${random}` as Id<K>;
}

/** DNS label (RFC 1123): what every `metadata.name` is. At most 63 characters. */
export const NAME_PATTERN = '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$';
const NAME = new RegExp(NAME_PATTERN);

export function isName(text: string): boolean {
  return NAME.test(text);
}
