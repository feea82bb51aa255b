/** The metadata of stored resources: made once, raised with each change. `revision` is the store's and put in on reading. */
import { newId, type Project } from '@skerry/model';

type Metadata = Project['metadata'];
export interface Described {
  readonly name: string;
  readonly project?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export function newMetadata(of: Described, now: string, uid: string = newId(Date.parse(now))): Metadata {
  return {
    name: of.name,
    ...(of.project !== undefined && { project: of.project }),
    uid,
    labels: { ...of.labels },
    annotations: { ...of.annotations },
    generation: 1,
    revision: 0,
    createdAt: now,
    updatedAt: now,
  };
}

/** `spec`: the change is one of what is wanted, and raises the generation. */
export function touched(metadata: Metadata, now: string, change: { readonly spec: boolean }): Metadata {
  return { ...metadata, updatedAt: now, generation: metadata.generation + (change.spec ? 1 : 0) };
}

/** Equality of what JSON can say; the order of a map's fields does not matter. */
export function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  for (const key in left) if (left[key] !== undefined && !same(left[key], right[key])) return false;
  for (const key in right) if (right[key] !== undefined && left[key] === undefined) return false;
  return true;
}
