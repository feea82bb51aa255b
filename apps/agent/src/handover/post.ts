/** One request to a guest on the node network: it took the word, refused it, or did not answer. Never follows where it points. */
import { request } from 'node:http';

export type Posted = 'taken' | 'refused' | 'unanswered';
export type PostPort = (
  target: { readonly host: string; readonly port: number; readonly path: string },
  body: string,
  signal: AbortSignal,
) => Promise<Posted>;

const LIMIT_MS = 5000;

/** Answers that may be another one the next time (RFC 9110, 15.5.9; RFC 6585, 4). */
const PASSING = new Set([408, 425, 429]);

export const postToGuest: PostPort = ({ host, port, path }, body, signal) =>
  new Promise((resolve) => {
    const asked = request({
      ...{ host, port, path, method: 'POST', agent: false },
      signal: AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]),
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        'user-agent': 'skerry-handover',
        connection: 'close',
      },
    });
    asked.once('response', ({ statusCode = 0 }) => {
      asked.destroy();
      if (statusCode >= 200 && statusCode < 300) resolve('taken');
      else resolve(statusCode < 500 && !PASSING.has(statusCode) ? 'refused' : 'unanswered');
    });
    asked.once('error', () => resolve('unanswered'));
    asked.end(body);
  });
