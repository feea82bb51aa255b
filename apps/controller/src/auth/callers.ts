/**
 * Who may ask. A connection on the unix socket is trusted: the file's permissions let only its owner in. Any other needs
 * the token, compared in constant time; an address that guesses is not heard for a while.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { SkerryError } from '@skerry/model';
import type { Clock } from '../clock.ts';

const FAILURES = 10;
const WINDOW_MS = 60_000;
const ADDRESSES = 10_000;

export interface Callers {
  trust(socket: Socket): void;
  /** Errors: unauthenticated. */
  admit(request: IncomingMessage): void;
  setToken(token: string): void;
}

const hash = (text: string) => createHash('sha256').update(text).digest();

export function createCallers(clock: Clock): Callers {
  const trusted = new WeakSet<object>();
  const failures = new Map<string, { count: number; untilMs: number }>();
  let expected: Buffer | undefined;

  /** How long what an address did wrong still counts; nothing counts longer, not even where the clock was set back. */
  const leftMs = (entry: { untilMs: number } | undefined): number => {
    const left = entry === undefined ? 0 : entry.untilMs - clock.nowMs();
    return left > WINDOW_MS ? 0 : Math.max(0, left);
  };
  const fail = (address: string): never => {
    const old = failures.get(address);
    const entry = old && leftMs(old) > 0 ? old : { count: 0, untilMs: clock.nowMs() + WINDOW_MS };
    entry.count += 1;
    failures.delete(address);
    failures.set(address, entry);
    // The map is bounded: the address that failed longest ago is forgotten first.
    if (failures.size > ADDRESSES) failures.delete(failures.keys().next().value!);
    throw new SkerryError('unauthenticated', 'the request has no token that is known here');
  };

  return {
    trust: (socket) => void trusted.add(socket),
    setToken(token) {
      expected = hash(token);
    },
    admit(request) {
      if (trusted.has(request.socket)) return;
      const address = request.socket.remoteAddress ?? '';
      const before = failures.get(address);
      if (before && leftMs(before) > 0 && before.count >= FAILURES) {
        const seconds = Math.ceil(leftMs(before) / 1000);
        throw new SkerryError(
          'unauthenticated',
          `too many wrong tokens came from this address: wait ${seconds} s`,
        );
      }
      const match = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '');
      // Hashes have one length, so the comparison tells nothing of the token's.
      if (!match || !expected || !timingSafeEqual(hash(match[1]!), expected)) fail(address);
    },
  };
}
