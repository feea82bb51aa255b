/** Reading and writing the fields of MQTT packets (MQTT 5.0, section 1.5). What is cut short or no UTF-8 is malformed. */
import { isUtf8 } from 'node:buffer';
import { ProtocolError, REASON } from './packets.ts';

export class FieldReader {
  readonly #bytes: Buffer;
  at: number;
  readonly end: number;

  constructor(bytes: Buffer, from: number, end: number) {
    this.#bytes = bytes;
    this.at = from;
    this.end = end;
  }
  #take(bytes: number): number {
    const from = this.at;
    if (from + bytes > this.end) throw new ProtocolError(REASON.malformed, 'a packet is cut short');
    this.at = from + bytes;
    return from;
  }
  get left(): number {
    return this.end - this.at;
  }
  u8(): number {
    return this.#bytes[this.#take(1)]!;
  }
  u16(): number {
    return this.#bytes.readUInt16BE(this.#take(2));
  }
  u32(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }
  variable(): number {
    let [value, factor] = [0, 1];
    for (let count = 0; count < 4; count++) {
      const byte = this.u8();
      value += (byte & 0x7f) * factor;
      if ((byte & 0x80) === 0) return value;
      factor *= 128;
    }
    throw new ProtocolError(REASON.malformed, 'a length has more than four bytes');
  }
  bytes(count: number): Buffer {
    const from = this.#take(count);
    return this.#bytes.subarray(from, from + count);
  }
  binary(): Buffer {
    return this.bytes(this.u16());
  }
  text(): string {
    const bytes = this.binary();
    if (!isUtf8(bytes) || bytes.includes(0))
      throw new ProtocolError(REASON.malformed, 'a text is no UTF-8, or has the character 0 in it');
    return bytes.toString('utf8');
  }
}

export const variableBytes = (value: number): number =>
  value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4;

export function writeVariable(out: Buffer, value: number, from: number): number {
  let [rest, at] = [value, from];
  do {
    const byte = rest % 128;
    rest = Math.floor(rest / 128);
    out[at++] = rest > 0 ? byte | 0x80 : byte;
  } while (rest > 0);
  return at;
}
export function writeText(out: Buffer, text: string, at: number): number {
  const bytes = out.write(text, at + 2);
  out.writeUInt16BE(bytes, at);
  return at + 2 + bytes;
}
export function writeBinary(out: Buffer, data: Uint8Array, at: number): number {
  out.writeUInt16BE(data.length, at);
  out.set(data, at + 2);
  return at + 2 + data.length;
}
