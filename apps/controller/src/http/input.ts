/** From the text of a query to typed values, by the route's schema. What is unknown or wrong is refused by its name. */
import { type RouteId, routeOf } from '@skerry/contract';
import { fieldOf, refusals, schemasOf, validatorOf } from '@skerry/contract/schema';
import { SkerryError } from '@skerry/model';
import type { TObject, TSchema } from 'typebox';

interface Typed {
  readonly type?: string;
}

function coerce(schema: Typed | undefined, value: unknown): unknown {
  if (schema?.type === 'array') return Array.isArray(value) ? value : [value];
  if (typeof value !== 'string') return value;
  if (schema?.type === 'boolean')
    return value === 'true' || value === '' ? true : value === 'false' ? false : value;
  if (schema?.type === 'integer' || schema?.type === 'number')
    return /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value;
  return value;
}

function check(schema: TSchema | undefined, value: unknown, what: string): void {
  if (!schema) return;
  if (validatorOf(schema).Check(value)) return;
  const errors = refusals(schema, value).map(({ path, message }) => ({ field: fieldOf(path), message }));
  const text = errors.map(({ field, message }) => `${what}${field && ` ${field}`}: ${message}`).join('; ');
  throw new SkerryError('request_invalid', text, { details: { errors } });
}

const NOTHING: TObject = {
  type: 'object',
  properties: {},
  additionalProperties: false,
} as unknown as TObject;

type Raw = Readonly<Record<string, unknown>>;

/** Path, query and body of a request as one checked object. Errors: request_invalid. */
export function readInput(id: RouteId, params: Raw, query: Raw, body: unknown): Record<string, unknown> {
  const schemas = schemasOf(id);
  const properties = (schemas.query?.properties ?? {}) as Record<string, Typed>;
  const typed: Record<string, unknown> = {};
  for (const name of Object.keys(query)) typed[name] = coerce(properties[name], query[name]);
  check(schemas.query ?? NOTHING, typed, 'query parameter');
  check(schemas.params, params, 'path parameter');
  const input: Record<string, unknown> = { ...typed, ...params };
  if (!schemas.body) return input;
  if (body === undefined) throw new SkerryError('request_invalid', 'the request needs a body');
  // Manifests say more about what is wrong with them: their handlers check them.
  if (routeOf(id).method !== 'PUT') check(schemas.body, body, 'body');
  input.body = body;
  return input;
}
