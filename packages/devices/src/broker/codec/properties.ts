/** The properties of MQTT 5.0 packets (section 2.2.2.2), by one table for both directions. */
import { type FieldReader, variableBytes, writeBinary, writeText, writeVariable } from './fields.ts';
import { type Properties, ProtocolError, REASON } from './packets.ts';

type Kind = 'byte' | 'two' | 'four' | 'variable' | 'text' | 'binary' | 'pair';
const TABLE: readonly (readonly [number, keyof Properties, Kind])[] = [
  [0x01, 'payloadFormat', 'byte'],
  [0x02, 'messageExpiry', 'four'],
  [0x03, 'contentType', 'text'],
  [0x08, 'responseTopic', 'text'],
  [0x09, 'correlationData', 'binary'],
  [0x0b, 'subscriptionIds', 'variable'],
  [0x11, 'sessionExpiry', 'four'],
  [0x12, 'assignedClientId', 'text'],
  [0x13, 'serverKeepAlive', 'two'],
  [0x15, 'authMethod', 'text'],
  [0x16, 'authData', 'binary'],
  [0x17, 'requestProblem', 'byte'],
  [0x18, 'willDelay', 'four'],
  [0x19, 'requestResponse', 'byte'],
  [0x1a, 'responseInformation', 'text'],
  [0x1c, 'serverReference', 'text'],
  [0x1f, 'reason', 'text'],
  [0x21, 'receiveMaximum', 'two'],
  [0x22, 'topicAliasMaximum', 'two'],
  [0x23, 'topicAlias', 'two'],
  [0x24, 'maximumQos', 'byte'],
  [0x25, 'retainAvailable', 'byte'],
  [0x26, 'user', 'pair'],
  [0x27, 'maximumPacketSize', 'four'],
  [0x28, 'wildcardAvailable', 'byte'],
  [0x29, 'subscriptionIdsAvailable', 'byte'],
  [0x2a, 'sharedAvailable', 'byte'],
];
const BY_CODE = new Map(TABLE.map(([code, name, kind]) => [code, { name, kind }]));
const NONE: Properties = Object.freeze({});

function readValue(reader: FieldReader, kind: Kind): unknown {
  switch (kind) {
    case 'byte':
      return reader.u8();
    case 'two':
      return reader.u16();
    case 'four':
      return reader.u32();
    case 'variable':
      return reader.variable();
    case 'text':
      return reader.text();
    case 'binary':
      return Buffer.from(reader.binary());
    case 'pair':
      return [reader.text(), reader.text()];
  }
}

export function readProperties(reader: FieldReader): Properties {
  const length = reader.variable();
  if (length === 0) return NONE;
  const end = reader.at + length;
  if (end > reader.end) throw new ProtocolError(REASON.malformed, 'properties are cut short');
  const found: Record<string, unknown> = {};
  while (reader.at < end) {
    const known = BY_CODE.get(reader.variable());
    if (!known) throw new ProtocolError(REASON.malformed, 'a property that does not exist');
    const value = readValue(reader, known.kind);
    if (known.name === 'user' || known.name === 'subscriptionIds') {
      found[known.name] = [...((found[known.name] as unknown[] | undefined) ?? []), value];
    } else if (known.name in found)
      throw new ProtocolError(REASON.protocolError, `the property ${known.name} is there twice`);
    else found[known.name] = value;
  }
  if (reader.at !== end) throw new ProtocolError(REASON.malformed, 'properties are cut short');
  return found as Properties;
}

interface Part {
  readonly code: number;
  readonly kind: Kind;
  readonly value: unknown;
}
function parts(properties: Properties): Part[] {
  return TABLE.flatMap(([code, name, kind]) => {
    const value = properties[name];
    if (value === undefined) return [];
    const values = name === 'user' || name === 'subscriptionIds' ? (value as unknown[]) : [value];
    return values.map((one) => ({ code, kind, value: one }));
  });
}
function partBytes({ kind, value }: Part): number {
  switch (kind) {
    case 'byte':
      return 2;
    case 'two':
      return 3;
    case 'four':
      return 5;
    case 'variable':
      return 1 + variableBytes(value as number);
    case 'text':
      return 3 + Buffer.byteLength(value as string);
    case 'binary':
      return 3 + (value as Uint8Array).length;
    case 'pair':
      return 5 + Buffer.byteLength((value as string[])[0]!) + Buffer.byteLength((value as string[])[1]!);
  }
}
function writePart(out: Buffer, { code, kind, value }: Part, from: number): number {
  const at = out.writeUInt8(code, from);
  switch (kind) {
    case 'byte':
      return out.writeUInt8(value as number, at);
    case 'two':
      return out.writeUInt16BE(value as number, at);
    case 'four':
      return out.writeUInt32BE(value as number, at);
    case 'variable':
      return writeVariable(out, value as number, at);
    case 'text':
      return writeText(out, value as string, at);
    case 'binary':
      return writeBinary(out, value as Uint8Array, at);
    case 'pair':
      return writeText(out, (value as string[])[1]!, writeText(out, (value as string[])[0]!, at));
  }
}

/** With their length before them. */
export function encodeProperties(properties: Properties | undefined): Buffer {
  const all = properties ? parts(properties) : [];
  const bytes = all.reduce((sum, part) => sum + partBytes(part), 0);
  const out = Buffer.allocUnsafe(variableBytes(bytes) + bytes);
  let at = writeVariable(out, bytes, 0);
  for (const part of all) at = writePart(out, part, at);
  return out;
}
