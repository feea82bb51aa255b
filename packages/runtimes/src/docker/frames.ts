/**
 * Output of a container without a terminal, as the engine interleaves it: frames of 8 bytes (stream, three zeros, length as
 * big-endian) and data (Engine API, "Attach to a container", stream format).
 */
export interface Frame {
  readonly stream: 'stdout' | 'stderr';
  readonly data: Buffer;
}

const HEAD_BYTES = 8;

export async function* framesOf(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Frame> {
  let held = Buffer.alloc(0);
  for await (const piece of bytes) {
    held = held.length === 0 ? Buffer.from(piece) : Buffer.concat([held, piece]);
    while (held.length >= HEAD_BYTES) {
      const length = held.readUInt32BE(4);
      if (held.length < HEAD_BYTES + length) break;
      yield {
        stream: held[0] === 2 ? 'stderr' : 'stdout',
        data: held.subarray(HEAD_BYTES, HEAD_BYTES + length),
      };
      held = held.subarray(HEAD_BYTES + length);
    }
  }
}
