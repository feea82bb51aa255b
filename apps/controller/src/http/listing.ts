/** Lists with pages and label selectors, and watches that resume from a revision, over what the store holds. */
import { SkerryError } from '@skerry/model';
import type { Entry } from '@skerry/store';
import type { Core } from '../core.ts';
import { type Collection, partsOf, prefixOf } from '../state/keys.ts';
import { type Kinds, parseEntry } from '../state/view.ts';
import type { RequestContext, StreamEvent } from './handlers.ts';
import { parseSelector } from './selector.ts';

export interface ListQuery {
  readonly limit?: number;
  readonly cursor?: string;
  readonly selector?: string;
  readonly watch?: boolean;
  readonly since?: number;
}
/** What has metadata; the rest is never shown as it is. */
type Listed = {
  [K in Collection]: Kinds[K] extends { readonly metadata: object } ? K : never;
}[Collection];
type Fits<K extends Listed> = (object: Kinds[K]) => boolean;
export interface Options<K extends Listed> {
  readonly project?: string;
  readonly fits?: Fits<K>;
  /** What is computed on reading rather than stored. */
  readonly show?: (object: Kinds[K]) => Kinds[K];
}

const DEFAULT_LIMIT = 500;

function predicate<K extends Listed>(query: ListQuery, fits: Fits<K> | undefined): Fits<K> {
  const selects = parseSelector(query.selector);
  return (object) => selects(object.metadata.labels) && (fits?.(object) ?? true);
}

function readCursor(cursor: string | undefined, prefix: string): string | undefined {
  if (cursor === undefined) return undefined;
  const key = Buffer.from(cursor, 'base64url').toString();
  if (!key.startsWith(prefix)) throw new SkerryError('request_invalid', 'the cursor is not of this list');
  return key;
}

async function list<K extends Listed>(core: Core, collection: K, query: ListQuery, options: Options<K>) {
  const prefix = prefixOf(collection, options.project);
  const fits = predicate(query, options.fits);
  const limit = query.limit ?? DEFAULT_LIMIT;
  const items: Kinds[K][] = [];
  let after = readCursor(query.cursor, prefix);
  let revision: number | undefined;
  for (;;) {
    const page = await core.store.list(prefix, { limit: limit + 1, ...(after !== undefined && { after }) });
    // The first page's: a watch from there misses nothing of the later ones.
    revision ??= page.revision;
    for (const entry of page.entries) {
      if (items.length === limit) {
        return { items, revision, cursor: Buffer.from(after!).toString('base64url') };
      }
      after = entry.key;
      const object = parseEntry(entry.value, entry.modRevision) as Kinds[K];
      if (fits(object)) items.push(options.show?.(object) ?? object);
    }
    if (page.next === undefined) return { items, revision };
    after = page.next;
  }
}

async function* watch<K extends Listed>(
  core: Core,
  collection: K,
  query: ListQuery,
  options: Options<K>,
  context: RequestContext,
): AsyncGenerator<StreamEvent> {
  const prefix = prefixOf(collection, options.project);
  const fits = predicate(query, options.fits);
  const put = (object: Kinds[K], id: number): StreamEvent => ({
    event: 'put',
    id,
    data: JSON.stringify(options.show?.(object) ?? object),
  });
  const gone = (key: string, id: number): StreamEvent => {
    const { project, name } = partsOf(key);
    return {
      event: 'delete',
      id,
      data: JSON.stringify(project === undefined ? { name } : { project, name }),
    };
  };
  /** The view's where it has just this one: it was read once already. */
  const objectOf = ({ key, value, modRevision }: Entry): Kinds[K] =>
    (core.view.revisionOf(key) === modRevision
      ? core.view.byKey(key)
      : parseEntry(value, modRevision)) as Kinds[K];
  let since = query.since ?? (context.lastEventId === undefined ? undefined : Number(context.lastEventId));
  // What the listener may know of; without a beginning, that is anything.
  const known = since === undefined ? new Set<string>() : undefined;
  if (since === undefined) {
    const { entries, revision } = await core.store.list(prefix);
    for (const entry of entries) {
      const object = parseEntry(entry.value, entry.modRevision) as Kinds[K];
      if (!fits(object)) continue;
      known?.add(entry.key);
      yield put(object, entry.modRevision);
    }
    yield { event: 'synced', id: revision, data: '{}' };
    since = revision;
  }
  for await (const batch of core.store.watch(prefix, { from: since, signal: context.signal })) {
    for (const event of batch.events) {
      const key = event.type === 'put' ? event.entry.key : event.key;
      const object = event.type === 'put' ? objectOf(event.entry) : undefined;
      if (object && fits(object)) {
        known?.add(key);
        yield put(object, batch.revision);
      } else if (known === undefined || known.delete(key)) yield gone(key, batch.revision);
    }
  }
}

export async function listing<K extends Listed>(
  core: Core,
  collection: K,
  query: ListQuery,
  context: RequestContext,
  options: Options<K> = {},
) {
  if (query.watch) return { events: watch(core, collection, query, options, context) };
  if (query.since !== undefined)
    throw new SkerryError('request_invalid', 'query parameter since: goes with watch=true only');
  return { body: await list(core, collection, query, options) };
}

/** Errors: not_found. */
export function requireListedProject(core: Core, project: string): void {
  if (!core.view.get('projects', project))
    throw new SkerryError('not_found', `there is no project "${project}"`);
}
