/** The numbers of a message: what of it a series can keep. Pure; bounded in depth, count and length of names. */
const MAX_FIELDS = 64;
const MAX_DEPTH = 8;
const MAX_NAME = 128;

export interface Reading {
  readonly field: string;
  readonly value: number;
}
export interface Readings {
  readonly readings: readonly Reading[];
  /** Values that can not be stored: not finite, not a number though it was asked for, too many or too deep. */
  readonly refused: number;
}

/**
 * Of a payload in JSON: one number is the field `value`; of an object the paths that are asked for, or all that lead to a
 * number, with dots between. A payload with nothing of that counts as one refused.
 */
export function readingsOf(payload: Uint8Array, fields: readonly string[] | undefined): Readings {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString('utf8'));
  } catch {
    return { readings: [], refused: 1 };
  }
  if (typeof value === 'number') {
    if (!Number.isFinite(value) || (fields && !fields.includes('value'))) return { readings: [], refused: 1 };
    return { readings: [{ field: 'value', value }], refused: 0 };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return { readings: [], refused: 1 };
  const found = fields ? asked(value, fields) : all(value);
  return found.readings.length === 0 && found.refused === 0 ? { readings: [], refused: 1 } : found;
}

function asked(value: object, fields: readonly string[]): Readings {
  const readings: Reading[] = [];
  let refused = 0;
  for (const field of fields) {
    const at = atPath(value, field);
    if (at === undefined || at === null) continue;
    if (typeof at === 'number' && Number.isFinite(at)) readings.push({ field, value: at });
    else refused++;
  }
  return { readings, refused };
}

function atPath(value: object, path: string): unknown {
  let at: unknown = value;
  for (const name of path.split('.')) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return undefined;
    at = (at as Record<string, unknown>)[name];
  }
  return at;
}

function all(value: object): Readings {
  const readings = new Map<string, number>();
  let refused = 0;
  const visit = (at: object, prefix: string, depth: number): void => {
    for (const [name, inner] of Object.entries(at)) {
      const path = prefix + name;
      if (typeof inner === 'number') {
        if (!Number.isFinite(inner) || path.length > MAX_NAME || readings.size >= MAX_FIELDS) refused++;
        else readings.set(path, inner);
      } else if (typeof inner === 'object' && inner !== null && !Array.isArray(inner)) {
        if (depth >= MAX_DEPTH) refused++;
        else visit(inner, `${path}.`, depth + 1);
      }
    }
  };
  visit(value, '', 1);
  return { readings: [...readings].map(([field, number]) => ({ field, value: number })), refused };
}
