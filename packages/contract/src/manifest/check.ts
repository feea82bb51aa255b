/** One manifest against the schema of its kind and its rules; says all that is wrong. No text, so no lines: see parse.ts. */
import { SkerryError } from '@skerry/model';
import { fieldOf, type Refusal, refusals } from './explain.ts';
import { type AnyManifest, KINDS, type Kinds } from './kinds.ts';
import type { ManifestProblem } from './problem.ts';
import { suggestion } from './suggest.ts';

/** `kinds`: those that may stand there. */
export function checkManifest(value: unknown, kinds: Kinds = KINDS): Refusal[] {
  const kindNames = Object.keys(kinds);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return [
      {
        path: [],
        atKey: false,
        message: 'a document must be a map with apiVersion, kind, metadata and spec',
      },
    ];
  }
  const { kind } = value as { kind?: unknown };
  if (kind === undefined)
    return [{ path: ['kind'], atKey: false, message: `is missing: one of ${kindNames.join(', ')}` }];
  if (typeof kind !== 'string' || !Object.hasOwn(kinds, kind)) {
    const text = `${JSON.stringify(kind)} is no kind of resource${suggestion(String(kind), kindNames)}: one of ${kindNames.join(', ')}`;
    return [{ path: ['kind'], atKey: false, message: text }];
  }
  const { schema, rules, inProject } = kinds[kind]!;
  const found = refusals(schema, value);
  if (found.length > 0) return found;
  if (!inProject && (value as AnyManifest).metadata.project !== undefined) {
    found.push({ path: ['metadata', 'project'], atKey: true, message: `a ${kind} belongs to no project` });
  }
  return [...found, ...(rules?.(value as never) ?? [])];
}

/** The error for a list of problems; its message is the first of them and how many more there are. */
export function manifestInvalid(errors: readonly ManifestProblem[]): SkerryError {
  const [first] = errors;
  const where = [first?.line && `line ${first.line}`, first?.field].filter(Boolean).join(', ');
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : '';
  return new SkerryError(
    'manifest_invalid',
    `${where && `${where}: `}${first?.message ?? 'not valid'}${more}`,
    {
      details: { errors },
    },
  );
}

/** For a manifest that came as JSON in a request. Errors: manifest_invalid with all that is wrong. */
export function requireManifest(value: unknown): AnyManifest {
  const found = checkManifest(value);
  if (found.length > 0)
    throw manifestInvalid(found.map(({ path, message }) => ({ field: fieldOf(path), message })));
  return value as AnyManifest;
}
