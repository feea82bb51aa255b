/**
 * Checks passwords against scrypt hashes, off the event loop and a few at a time, so that files are synced meanwhile. What was
 * right is remembered by a keyed hash: ten thousand devices that come back after a cut cost no scrypt. Of a password that nobody
 * can guess it is kept on the disk, too, so that they cost none either after a restart.
 */
import { createHash, createHmac, randomBytes, scrypt, timingSafeEqual } from 'node:crypto';

/** libuv has four threads (UV_THREADPOOL_SIZE), and fdatasync needs some of them, too. */
const AT_ONCE = 2;
/** Whoever comes when so many wait is asked to come again. */
const MOST_WAITING = 20_000;
/** 128 * N * r bytes (RFC 7914, section 2): what a hash may cost that was told to this node. */
const MOST_MEMORY_BYTES = 64 * 1024 * 1024;
const LONGEST_PASSWORD = 1024;
/** As the controller makes them (24 bytes in base64url): a fast hash of a shorter one, which people chose, would give it away. */
const UNGUESSABLE = 32;

export type Verdict = 'right' | 'wrong' | 'busy';

interface Parsed {
  readonly N: number;
  readonly r: number;
  readonly p: number;
  readonly salt: Buffer;
  readonly hash: Buffer;
}

function parse(text: string): Parsed | undefined {
  const match = /^scrypt\$(\d{1,8})\$(\d{1,3})\$(\d{1,3})\$([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+)$/.exec(text);
  if (!match) return undefined;
  const [N, r, p] = match.slice(1, 4).map(Number) as [number, number, number];
  const [salt, hash] = match.slice(4).map((part) => Buffer.from(part, 'base64')) as [Buffer, Buffer];
  if (hash.length < 16 || 128 * N * r > MOST_MEMORY_BYTES) return undefined;
  return { N, r, p, salt, hash };
}

/** Where keyed hashes outlive a restart. */
export interface PasswordKeep {
  readonly key: Buffer;
  /** By the digest of the hash that was told. */
  readonly known: ReadonlyMap<string, Buffer>;
  keep(digest: string, mark: Buffer): void;
  drop(digest: string): void;
}

const digestOf = (expected: string): string => createHash('sha256').update(expected).digest('base64');

export class Passwords {
  readonly #key: Buffer;
  readonly #keep: PasswordKeep | undefined;
  /** By the digest of the hash that was told: what the right password's keyed hash is. */
  readonly #right: Map<string, Buffer>;
  readonly #checking = new Map<string, Promise<Verdict>>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(keep?: PasswordKeep) {
    this.#keep = keep;
    this.#key = keep?.key ?? randomBytes(32);
    this.#right = new Map(keep?.known);
  }

  async check(password: Uint8Array, expected: string): Promise<Verdict> {
    if (password.length === 0 || password.length > LONGEST_PASSWORD) return 'wrong';
    const mark = createHmac('sha256', this.#key).update(expected).update('\0').update(password).digest();
    const digest = digestOf(expected);
    const known = this.#right.get(digest);
    if (known && timingSafeEqual(known, mark)) return 'right';
    const id = mark.toString('base64');
    const before = this.#checking.get(id);
    if (before) return before;
    const work = this.#verify(password, expected).finally(() => this.#checking.delete(id));
    this.#checking.set(id, work);
    const verdict = await work;
    if (verdict === 'right') {
      this.#right.set(digest, mark);
      if (password.length >= UNGUESSABLE) this.#keep?.keep(digest, mark);
    }
    return verdict;
  }

  /** The hash counts no more. */
  forget(expected: string): void {
    const digest = digestOf(expected);
    this.#right.delete(digest);
    this.#keep?.drop(digest);
  }

  async #verify(password: Uint8Array, expected: string): Promise<Verdict> {
    const parsed = parse(expected);
    if (!parsed) return 'wrong';
    if (this.#running >= AT_ONCE) {
      if (this.#waiting.length >= MOST_WAITING) return 'busy';
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else this.#running++;
    try {
      const { N, r, p, salt, hash } = parsed;
      const made = await new Promise<Buffer>((resolve, reject) =>
        scrypt(password, salt, hash.length, { N, r, p, maxmem: 2 * MOST_MEMORY_BYTES }, (error, key) =>
          error ? reject(error) : resolve(key),
        ),
      );
      return timingSafeEqual(made, hash) ? 'right' : 'wrong';
    } catch {
      return 'wrong'; // parameters that scrypt refuses
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running--;
    }
  }
}
