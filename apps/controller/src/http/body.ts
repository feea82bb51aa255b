/** Reads request bodies: JSON or text up to a limit, or the stream as it is. */
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { LONGEST_MANIFEST_BYTES } from '@skerry/contract/schema';
import { SkerryError } from '@skerry/model';

export const JSON_LIMIT_BYTES = 2 * 1024 * 1024;
export const limitOf = (sends: 'json' | 'text' | 'bytes' | undefined): number =>
  sends === 'text' ? LONGEST_MANIFEST_BYTES + 1 : JSON_LIMIT_BYTES;

/** Errors: payload_too_large, request_invalid where the bytes are no UTF-8 or the caller broke off. */
export function readText(request: IncomingMessage, stream: Readable, limitBytes: number): Promise<string> {
  const tooLarge = () => new SkerryError('payload_too_large', `the body is larger than ${limitBytes} bytes`);
  return new Promise((resolve, reject) => {
    if (Number(request.headers['content-length'] ?? 0) > limitBytes) return reject(tooLarge());
    const chunks: Buffer[] = [];
    let length = 0;
    stream.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > limitBytes) {
        stream.pause();
        reject(tooLarge());
      } else chunks.push(chunk);
    });
    stream.on('error', (error) =>
      reject(new SkerryError('request_invalid', 'the body broke off', { cause: error })),
    );
    stream.on('end', () => {
      try {
        resolve(
          new TextDecoder('utf-8', { fatal: true }).decode(
            chunks.length === 1 ? chunks[0] : Buffer.concat(chunks),
          ),
        );
      } catch (error) {
        reject(new SkerryError('request_invalid', 'the body is not UTF-8 text', { cause: error }));
      }
    });
  });
}

/** Errors: request_invalid. */
export function parseJson(text: string): unknown {
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new SkerryError('request_invalid', `the body is no JSON: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
