/** A stream of bytes that were unpacked: counted, for a small gzip file may hold more than any disk. */
import { Transform } from 'node:stream';
import { SkerryError } from '@skerry/model';

/** Far more than any image that is meant to run at the edge. */
export const UNPACKED_LIMIT_BYTES = 64 * 1024 ** 3;

/** Passes everything on, and to `see`. Fails with image_invalid naming `what` when more comes than the limit. */
export function countUnpacked(
  what: string,
  see?: (chunk: Buffer) => void,
  limitBytes = UNPACKED_LIMIT_BYTES,
): Transform {
  let sizeBytes = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      sizeBytes += chunk.length;
      if (sizeBytes > limitBytes)
        return done(new SkerryError('image_invalid', `${what} unpacks to more than ${limitBytes} bytes`));
      see?.(chunk);
      done(null, chunk);
    },
  });
}
