/**
 * What every node is told of devices, streams and projects: the store's watch from a revision, each change as the object is
 * by then; all of it where the log does not reach back so far. Secrets go to nodes and nowhere else.
 */
import type { FeedItem, FeedObject } from '@skerry/contract';
import { asSkerryError } from '@skerry/model';
import type { Revision } from '@skerry/store';
import type { Core } from '../core.ts';
import { type Collection, partsOf, RESOURCES } from '../state/keys.ts';
import { putSecrets } from './stream-secrets.ts';

/** What an object is made of; a change of any of them is one of it. */
const KIND: Partial<Record<Collection, FeedObject['kind']>> = {
  devices: 'device',
  'device-secrets': 'device',
  'device-desired': 'device',
  streams: 'stream',
  'stream-secrets': 'stream',
  projects: 'project',
  'device-authorities': 'project',
};
/** Changes of other things that pass without a word, before a node is told that it is up to date. */
const SILENT = 500;

interface About {
  readonly kind: FeedObject['kind'];
  readonly project: string;
  readonly name: string;
}

/** As it is now. Undefined: it is not there. */
export function feedObject(
  { view }: Pick<Core, 'view'>,
  { kind, project, name }: About,
): FeedObject | undefined {
  if (kind === 'device') {
    const device = view.get('devices', project, name);
    if (!device) return undefined;
    const { uid, labels } = device.metadata;
    const own = <T extends { uid: string }>(one: T | undefined) => (one?.uid === uid ? one : undefined);
    const secrets = own(view.get('device-secrets', project, name));
    const desired = own(view.get('device-desired', project, name));
    const { password, fingerprint, version } = secrets ?? { version: 0 };
    const credentials = {
      version,
      ...(password !== undefined && { password }),
      ...(fingerprint !== undefined && { fingerprint }),
    };
    return {
      kind,
      project,
      name,
      uid,
      labels,
      spec: device.spec,
      credentials,
      ...(desired && { desired: { version: desired.version, state: desired.state } }),
      ...(device.status.node !== undefined && { node: device.status.node }),
    };
  }
  if (kind === 'stream') {
    const stream = view.get('streams', project, name);
    if (!stream) return undefined;
    const { uid, generation } = stream.metadata;
    const secrets = view.get('stream-secrets', project, name);
    const spec = putSecrets(stream.spec, secrets?.uid === uid ? secrets.sinks : {});
    return { kind, project, name, uid, generation, spec };
  }
  const found = view.get('projects', name);
  if (!found) return undefined;
  const own = view.get('device-authorities', name);
  const authorities = found.spec.devices?.authorities ?? (own?.uid === found.metadata.uid ? [own.pem] : []);
  return { kind, project, name, authorities, enrolment: found.spec.devices?.enrolment ?? 'manual' };
}

function aboutOf(key: string): About | undefined {
  if (!key.startsWith(RESOURCES)) return undefined;
  const { collection, project, name } = partsOf(key);
  const kind = KIND[collection];
  return kind && { kind, project: project ?? name, name };
}

function* everything(core: Core, revision: Revision): Generator<FeedItem> {
  const { view } = core;
  yield { type: 'reset' };
  // what is of a project comes after it
  const all: About[] = [...view.all('projects')].map(({ metadata: { name } }) => ({
    kind: 'project',
    project: name,
    name,
  }));
  for (const { metadata } of view.all('devices'))
    all.push({ kind: 'device', project: metadata.project!, name: metadata.name });
  for (const { metadata } of view.all('streams'))
    all.push({ kind: 'stream', project: metadata.project!, name: metadata.name });
  for (const about of all) {
    const object = feedObject(core, about);
    if (object) yield { type: 'put', revision, object };
  }
  yield { type: 'synced', revision };
}

export async function* deviceFeed(
  core: Core,
  since: number | undefined,
  signal: AbortSignal,
): AsyncGenerator<FeedItem> {
  const { view, store } = core;
  let from = since ?? 0;
  while (!signal.aborted) {
    if (from <= 0) {
      from = view.revision;
      yield* everything(core, from);
    }
    let told = from;
    try {
      for await (const batch of store.watch(RESOURCES, { from, signal })) {
        const concerned = new Map<string, About>();
        for (const event of batch.events) {
          const about = aboutOf(event.type === 'put' ? event.entry.key : event.key);
          if (about) concerned.set(`${about.kind}/${about.project}/${about.name}`, about);
        }
        const { revision } = batch;
        if (concerned.size > 0) await view.reached(revision);
        for (const about of concerned.values()) {
          const object = feedObject(core, about);
          yield object ? { type: 'put', revision, object } : { type: 'delete', revision, ...about };
        }
        if (concerned.size > 0 || revision - told >= SILENT) {
          yield { type: 'synced', revision };
          told = revision;
        }
        from = revision;
      }
      return;
    } catch (error) {
      const { code } = asSkerryError(error);
      if (code === 'store_compacted') from = 0;
      else if (code !== 'watch_too_slow') throw error;
    }
  }
}
