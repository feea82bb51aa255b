/** A PNG picture (RFC 2083) of eight bits a channel, not interlaced, as QEMU writes it; to pixels. */
import { inflateSync } from 'node:zlib';

export interface Picture {
  readonly width: number;
  readonly height: number;
  /** Whether a pixel is lit: brighter than half of white. */
  isLit(x: number, y: number): boolean;
}

const SIGNATURE_BYTES = 8;
const CHANNELS: Readonly<Record<number, number>> = { 0: 1, 2: 3, 6: 4 };

function paeth(left: number, up: number, corner: number): number {
  const guess = left + up - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}

export function readPng(file: Buffer): Picture {
  const data: Buffer[] = [];
  let [width, height, bytes] = [0, 0, 0];
  for (let at = SIGNATURE_BYTES; at < file.length; ) {
    const length = file.readUInt32BE(at);
    const type = file.toString('latin1', at + 4, at + 8);
    const body = file.subarray(at + 8, at + 8 + length);
    if (type === 'IHDR') {
      width = body.readUInt32BE(0);
      height = body.readUInt32BE(4);
      bytes = CHANNELS[body[9]!] ?? 0;
      if (body[8] !== 8 || bytes === 0 || body[12] !== 0)
        throw new Error('a PNG of a kind that is not read here');
    }
    if (type === 'IDAT') data.push(body);
    at += length + 12;
  }
  const packed = inflateSync(Buffer.concat(data));
  const stride = width * bytes;
  const pixels = Buffer.alloc(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = packed[y * (stride + 1)]!;
    for (let x = 0; x < stride; x++) {
      const left = x < bytes ? 0 : pixels[y * stride + x - bytes]!;
      const up = y === 0 ? 0 : pixels[(y - 1) * stride + x]!;
      const corner = y === 0 || x < bytes ? 0 : pixels[(y - 1) * stride + x - bytes]!;
      const add = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter]!;
      pixels[y * stride + x] = packed[y * (stride + 1) + 1 + x]! + add;
    }
  }
  return { width, height, isLit: (x, y) => pixels[y * stride + x * bytes]! > 127 };
}
