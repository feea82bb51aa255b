/**
 * What the store holds, in memory, for decisions and single reads. Fed by the store's watch alone, so it goes through
 * every revision in order; a writer waits until its own revision has come through. It never writes.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type {
  AccessPoint,
  Client,
  Device,
  Image,
  Instance,
  Link,
  Node,
  Operation,
  Project,
  Site,
  Stream,
  Volume,
  Workload,
} from '@skerry/model';
import { SkerryError } from '@skerry/model';
import type { Revision, Store, WatchBatch } from '@skerry/store';
import type {
  DesiredShadow,
  DeviceSecrets,
  OwnAuthority,
  ReportedShadow,
  StreamSecrets,
} from '../devices/stored.ts';
import type { Logger } from '../logger.ts';
import { createGroups } from './groups.ts';
import { type Collection, keyOf, partsOf, prefixOf, RESOURCES } from './keys.ts';

/** Before the store is asked again after its watch broke. */
const RETRY_MS = 50;

export type Overheads = Readonly<Partial<Record<string, number>>>;

/** Who a node is: the only one that may speak for it is who holds this key. */
export interface NodeKey {
  /** SHA-256 of the public key (SPKI, DER), base64url. */
  readonly key: string;
  readonly joinedAt: string;
  /** The node was taken out: the machine that has the key is to be told so. */
  readonly removedAt?: string;
}
/** Lets one machine join. */
export interface NodeToken {
  readonly id: string;
  /** SHA-256, base64url: the secret itself is known to its holder only. */
  readonly secret: string;
  /** The name that the machine gets; its own choice where absent. */
  readonly node?: string;
  readonly createdAt: string;
  readonly expiresAt: string;
  /** The key that it was spent for: the same machine may ask again, should the answer have been lost. */
  readonly usedBy?: string;
}

export interface Kinds {
  projects: Project;
  workloads: Workload;
  instances: Instance;
  images: Image;
  volumes: Volume;
  nodes: Node;
  'node-overheads': Overheads;
  'node-keys': NodeKey;
  'node-tokens': NodeToken;
  sites: Site;
  'access-points': AccessPoint;
  links: Link;
  clients: Client;
  devices: Device;
  'device-secrets': DeviceSecrets;
  'device-desired': DesiredShadow;
  'device-reported': ReportedShadow;
  'device-authorities': OwnAuthority;
  streams: Stream;
  'stream-secrets': StreamSecrets;
  operations: Operation;
}

export interface Change<K extends Collection = Collection> {
  readonly collection: K;
  readonly key: string;
  readonly before: Kinds[K] | undefined;
  readonly after: Kinds[K] | undefined;
}

interface Held {
  readonly object: unknown;
  readonly revision: Revision;
  text: string | undefined;
}

export interface View {
  readonly revision: Revision;
  get<K extends Collection>(collection: K, ...parts: readonly string[]): Kinds[K] | undefined;
  byKey(key: string): unknown;
  /** JSON of a resource, made once for each revision of it. */
  textOf(key: string): { readonly text: string; readonly revision: Revision } | undefined;
  /** Revision of the last change of a key; 0 where it is not there. For compare-and-set. */
  revisionOf(key: string): Revision;
  all<K extends Collection>(collection: K, project?: string): IterableIterator<Kinds[K]>;
  count(collection: Collection): number;
  instancesOf(project: string, workload: string): Instance[];
  instanceByUid(uid: string): Instance | undefined;
  /** Undefined: those that have no node. */
  instancesOn(node: string | undefined): Instance[];
  volumesOn(node: string | undefined): Volume[];
  onChange(listener: (change: Change) => void): void;
  /** After every batch, when all its changes are in. */
  onBatch(listener: () => void): void;
  /** Resolves when the view has come to `revision`. */
  reached(revision: Revision): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** In the place of a node's name: no node is called so. */
const NOWHERE = '';

/** Puts the revision, which is known only after the commit, into what was written. */
export function parseEntry(value: string, revision: Revision): unknown {
  const object = JSON.parse(value);
  if (object.metadata) object.metadata.revision = revision;
  return object;
}

export function createView(store: Store, logger: Logger): View {
  const held = new Map<string, Held>();
  const byCollection = new Map<string, Map<string, unknown>>();
  const byWorkload = new Map<string, Map<number, Instance>>();
  const byUid = new Map<string, Instance>();
  const instancesByNode = createGroups<Instance>();
  const volumesByNode = createGroups<Volume>();
  const listeners: ((change: Change) => void)[] = [];
  const batchListeners: (() => void)[] = [];
  const abort = new AbortController();
  /** In the order of their revisions. */
  let waiting: { revision: Revision; resolve: () => void; reject: (error: unknown) => void }[] = [];
  let revision: Revision = 0;
  let running: Promise<void> | undefined;

  const index = (collection: Collection, key: string, before: unknown, after: unknown) => {
    if (collection === 'volumes') {
      const [old, next] = [before, after] as [Volume | undefined, Volume | undefined];
      if (old) volumesByNode.delete(old.status.node ?? NOWHERE, key);
      if (next) volumesByNode.put(next.status.node ?? NOWHERE, key, next);
    }
    if (collection !== 'instances') return;
    const [old, next] = [before, after] as [Instance | undefined, Instance | undefined];
    if (old) {
      byUid.delete(old.metadata.uid);
      instancesByNode.delete(old.spec.node ?? NOWHERE, key);
      const group = `${old.metadata.project}/${old.spec.workload}`;
      byWorkload.get(group)?.delete(old.spec.ordinal);
      if (byWorkload.get(group)?.size === 0) byWorkload.delete(group);
    }
    if (next) {
      byUid.set(next.metadata.uid, next);
      instancesByNode.put(next.spec.node ?? NOWHERE, key, next);
      const group = `${next.metadata.project}/${next.spec.workload}`;
      if (!byWorkload.has(group)) byWorkload.set(group, new Map());
      byWorkload.get(group)!.set(next.spec.ordinal, next);
    }
  };

  const set = (key: string, value: string | undefined, at: Revision) => {
    const { collection } = partsOf(key);
    const before = held.get(key)?.object;
    const after = value === undefined ? undefined : parseEntry(value, at);
    let members = byCollection.get(collection);
    if (!members) {
      members = new Map();
      byCollection.set(collection, members);
    }
    if (after === undefined) {
      held.delete(key);
      members.delete(key);
    } else {
      held.set(key, { object: after, revision: at, text: undefined });
      members.set(key, after);
    }
    index(collection, key, before, after);
    const change = { collection, key, before, after } as Change;
    for (const listener of listeners) listener(change);
  };

  const arrive = (at: Revision) => {
    revision = at;
    for (const listener of batchListeners) listener();
    let due = 0;
    while (due < waiting.length && waiting[due]!.revision <= at) due++;
    if (due === 0) return;
    for (const one of waiting.splice(0, due)) one.resolve();
  };

  const take = (batch: WatchBatch) => {
    for (const event of batch.events) {
      const key = event.type === 'put' ? event.entry.key : event.key;
      if (!key.startsWith(RESOURCES)) continue;
      if (event.type === 'put') set(event.entry.key, event.entry.value, batch.revision);
      else set(event.key, undefined, batch.revision);
    }
    arrive(batch.revision);
  };

  /** The whole again, as the differences to what is held. */
  const relist = async () => {
    const { entries, revision: at } = await store.list(RESOURCES);
    const present = new Set(entries.map((entry) => entry.key));
    for (const key of [...held.keys()]) if (!present.has(key)) set(key, undefined, at);
    for (const entry of entries) {
      if (held.get(entry.key)?.revision !== entry.modRevision) set(entry.key, entry.value, entry.modRevision);
    }
    arrive(at);
    return at;
  };

  const follow = async () => {
    while (!abort.signal.aborted) {
      try {
        for await (const batch of store.watch('/', { from: revision, signal: abort.signal })) take(batch);
        if (!abort.signal.aborted) throw new SkerryError('unavailable', 'the watch of the store ended');
      } catch (error) {
        if (abort.signal.aborted) break;
        logger.warn({ err: error }, 'the view of the store is listed again');
        await pause(RETRY_MS, undefined, { signal: abort.signal }).catch(() => undefined);
        if (abort.signal.aborted) break;
        await relist().catch((failure) => {
          for (const one of waiting) one.reject(failure);
          waiting = [];
          abort.abort();
          logger.error({ err: failure }, 'the store can not be read');
        });
      }
    }
    const closed = new SkerryError('unavailable', 'the controller is stopping');
    for (const one of waiting) one.reject(closed);
    waiting = [];
  };

  return {
    get revision() {
      return revision;
    },
    get: (collection, ...parts) => held.get(keyOf(collection, ...parts))?.object as never,
    byKey: (key) => held.get(key)?.object,
    textOf(key) {
      const one = held.get(key);
      if (!one) return undefined;
      one.text ??= JSON.stringify(one.object);
      return { text: one.text, revision: one.revision };
    },
    revisionOf: (key) => held.get(key)?.revision ?? 0,
    *all(collection, project) {
      const prefix = prefixOf(collection, project);
      for (const [key, object] of byCollection.get(collection) ?? []) {
        if (project === undefined || key.startsWith(prefix)) yield object as never;
      }
    },
    count: (collection) => byCollection.get(collection)?.size ?? 0,
    instancesOf: (project, workload) => [...(byWorkload.get(`${project}/${workload}`)?.values() ?? [])],
    instanceByUid: (uid) => byUid.get(uid),
    instancesOn: (node) => instancesByNode.of(node ?? NOWHERE),
    volumesOn: (node) => volumesByNode.of(node ?? NOWHERE),
    onChange: (listener) => void listeners.push(listener),
    onBatch: (listener) => void batchListeners.push(listener),
    reached(at) {
      if (revision >= at) return Promise.resolve();
      if (abort.signal.aborted)
        return Promise.reject(new SkerryError('unavailable', 'the controller is stopping'));
      return new Promise((resolve, reject) => {
        // Nearly always the last: commits are told in their order.
        let place = waiting.length;
        while (place > 0 && waiting[place - 1]!.revision > at) place--;
        waiting.splice(place, 0, { revision: at, resolve, reject });
      });
    },
    async start() {
      await relist();
      running = follow();
    },
    async stop() {
      abort.abort();
      await running;
    },
  };
}
