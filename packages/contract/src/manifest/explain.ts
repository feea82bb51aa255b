/** A schema's refusals as sentences that name the field: all of them, each once. */

import type { TSchema } from 'typebox';
import { Compile, type Validator } from 'typebox/compile';
import { Settings } from 'typebox/system';
import { suggestion } from './suggest.ts';

// The library stops at 8 errors; a person wants all of them, and 200 are enough for any.
Settings.Set({ maxErrors: 200 });

export type Path = readonly (string | number)[];
export interface Refusal {
  readonly path: Path;
  /** The key itself is wrong, rather than its value. */
  readonly atKey: boolean;
  readonly message: string;
}

interface Schema {
  readonly [keyword: string]: unknown;
}

const compiled = new WeakMap<object, Validator>();
export function validatorOf(schema: TSchema): Validator {
  let validator = compiled.get(schema);
  if (!validator) {
    validator = Compile(schema);
    compiled.set(schema, validator);
  }
  return validator;
}

const unescapePointer = (part: string) => part.replaceAll('~1', '/').replaceAll('~0', '~');

function follow(pointer: string, root: unknown): unknown {
  let at = root;
  for (const part of pointer.replace(/^#/, '').split('/').slice(1)) {
    if (typeof at !== 'object' || at === null) return undefined;
    at = (at as Record<string, unknown>)[unescapePointer(part)];
  }
  return at;
}

function pathOf(pointer: string, root: unknown): Path {
  const path: (string | number)[] = [];
  let at = root;
  for (const raw of pointer.split('/').slice(1)) {
    const part = unescapePointer(raw);
    path.push(Array.isArray(at) ? Number(part) : part);
    at = (at as Record<string, unknown> | undefined)?.[part];
  }
  return path;
}

/** Of what is never shown, its presence only. */
const SECRET = new Set(['password', 'token']);
const show = (value: unknown): string => {
  const text = JSON.stringify(value, (key, inner) => (SECRET.has(key) ? '(not shown)' : inner)) ?? 'nothing';
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
};
const lower = (text: string) => text.charAt(0).toLowerCase() + text.slice(1);
const ARTICLE: Record<string, string> = {
  string: 'text',
  integer: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a map of fields',
};

function sentence(keyword: string, params: Schema, schema: Schema, value: unknown): string {
  const described = typeof schema.description === 'string' ? `: ${lower(schema.description)}` : '';
  switch (keyword) {
    case 'type': {
      const wanted = ARTICLE[String(params.type ?? schema.type)] ?? String(params.type ?? schema.type);
      if (schema.pattern && described) return `${show(value)} is not valid${described}`;
      return `${show(value)} must be ${wanted}`;
    }
    case 'anyOf': {
      const tags = tagsOf(schema.anyOf as Schema[]);
      if (tags) return `must have one of ${tags.join(', ')}`;
      const types = (schema.anyOf as Schema[]).map(({ type }) => ARTICLE[String(type)] ?? String(type));
      return `${show(value)} must be ${types.join(' or ')}`;
    }
    case 'pattern':
      return `${show(value)} is not valid${described || `: it must match ${String(schema.pattern)}`}`;
    case 'enum': {
      const known = (schema.enum as unknown[]).map(String);
      return `${show(value)} must be one of ${known.join(', ')}${suggestion(String(value), known)}`;
    }
    case 'const':
      return `${show(value)} must be ${show(schema.const)}`;
    case 'minimum':
      return `${show(value)} is too small: at least ${schema.minimum}`;
    case 'exclusiveMinimum':
      return `${show(value)} is too small: more than ${schema.exclusiveMinimum}`;
    case 'maximum':
      return `${show(value)} is too large: at most ${schema.maximum}`;
    case 'minLength':
      return 'must not be empty';
    case 'maxLength':
      return `is too long: at most ${schema.maxLength} characters`;
    case 'minItems':
      return `needs at least ${schema.minItems} of them`;
    case 'maxItems':
      return `has too many: at most ${schema.maxItems}`;
    default:
      return `${show(value)} is not valid${described}`;
  }
}

type Flaw = ReturnType<Validator['Errors']>[number];

/** What a union of maps is told apart by: the one field that each needs. Absent: it is told apart otherwise. */
function tagsOf(branches: readonly Schema[]): string[] | undefined {
  const tags = branches.map(({ type, required }) =>
    type === 'object' && Array.isArray(required) && required.length === 1 ? String(required[0]) : undefined,
  );
  return tags.includes(undefined) || new Set(tags).size < tags.length ? undefined : (tags as string[]);
}

/** A value that has the field of one branch is refused for what that one wants. Returns the others. */
function otherTags(branches: readonly Schema[], value: unknown): number[] | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const own = tagsOf(branches)?.findIndex((tag) => Object.hasOwn(value, tag)) ?? -1;
  return own < 0 ? undefined : branches.map((_, at) => at).filter((at) => at !== own);
}

/**
 * Of what may be of several types, a value of one of these is refused for what that type wants, and not for being none of the
 * others; where it is of no such type, all are named.
 */
function ofFittingBranches(flaws: readonly Flaw[], root: unknown, value: unknown): Flaw[] {
  let left = [...flaws];
  for (const union of flaws) {
    if (union.keyword !== 'anyOf') continue;
    const branches = ((follow(union.schemaPath, root) as Schema | undefined)?.anyOf ?? []) as Schema[];
    // 2.5 is the number that was meant, only not a whole one
    const isNumber = typeof follow(union.instancePath, value) === 'number';
    const at = (branch: number) => `${union.schemaPath}/anyOf/${branch}`;
    const other = otherTags(branches, follow(union.instancePath, value));
    if (other) {
      const inOther = ({ schemaPath }: Flaw) =>
        other.some((branch) => schemaPath === at(branch) || schemaPath.startsWith(`${at(branch)}/`));
      left = left.filter((one) => one !== union && !inOther(one));
      continue;
    }
    const misfits = branches.flatMap(({ type }, branch) =>
      !(isNumber && type === 'integer') &&
      flaws.some(
        ({ keyword, schemaPath, instancePath }) =>
          keyword === 'type' && schemaPath === at(branch) && instancePath === union.instancePath,
      )
        ? [at(branch)]
        : [],
    );
    const inAny = ({ schemaPath }: Flaw) =>
      misfits.some((path) => schemaPath === path || schemaPath.startsWith(`${path}/`));
    left = left.filter((one) => !inAny(one) && (one !== union || misfits.length === branches.length));
  }
  return left;
}

/** Empty where `value` is as `schema` wants it. */
export function refusals(schema: TSchema, value: unknown): Refusal[] {
  const validator = validatorOf(schema);
  if (validator.Check(value)) return [];
  const found: Refusal[] = [];
  const seen = new Set<string>();
  const add = (path: Path, atKey: boolean, message: string) => {
    const key = path.join('\0');
    if (seen.has(key)) return;
    seen.add(key);
    found.push({ path, atKey, message });
  };
  for (const error of ofFittingBranches(validator.Errors(value), schema, value)) {
    const { keyword } = error;
    const path = pathOf(error.instancePath, value);
    const at = follow(error.schemaPath, schema) as Schema | undefined;
    const params = error.params as Schema;
    if (keyword === 'additionalProperties' || keyword === 'unevaluatedProperties') {
      const names = Object.keys((at?.properties as object | undefined) ?? {});
      for (const name of (params.additionalProperties ?? []) as string[]) {
        const text =
          names.length > 0
            ? `unknown field "${name}"${suggestion(name, names)}`
            : `"${name}" is not allowed as a name here`;
        add([...path, name], true, text);
      }
    } else if (keyword === 'required') {
      for (const name of (params.requiredProperties ?? []) as string[])
        add([...path, name], false, 'is missing');
    } else if (keyword !== 'boolean') {
      const found = follow(error.instancePath, value);
      const isSecret = SECRET.has(String(path.at(-1)));
      add(path, false, sentence(keyword, params, at ?? {}, isSecret ? '(not shown)' : found));
    }
  }
  if (found.length === 0) found.push({ path: [], atKey: false, message: 'is not valid' });
  return found;
}

/** `spec.ports[0].port` */
export function fieldOf(path: Path): string {
  let text = '';
  for (const part of path) text += typeof part === 'number' ? `[${part}]` : text ? `.${part}` : part;
  return text;
}
