/** What a lab asks of its controller, by the unix socket in the controller's data folder: the one way into a lab from outside. */
import { createReadStream, readFileSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { type Client, createClient } from '@skerry/contract';
import { type AnyManifest, type ClientManifest, parseManifests } from '@skerry/contract/schema';
import { ipv6Works } from '@skerry/host';
import { type Instance, type Node, SkerryError } from '@skerry/model';
import { address6Of } from '../addresses.ts';
import { CONTROLLER, type LabFile } from '../lab-file.ts';
import type { LabPlan } from '../plan.ts';
import type { LabFolder } from '../state.ts';

export const controllerDataDir = (folder: LabFolder): string => folder.dataDir(CONTROLLER);

export async function withController<T>(folder: LabFolder, use: (client: Client) => Promise<T>): Promise<T> {
  const client = createClient({ socketPath: join(controllerDataDir(folder), 'api.sock') });
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}

async function applyDocuments(client: Client, documents: readonly AnyManifest[]): Promise<void> {
  if (documents.length > 0)
    await client.apply({ body: documents.map((document) => JSON.stringify(document)).join('\n---\n') });
}

/** Sites, access points, links and clients, these with the addresses that they have in the lab. */
export async function applyNetwork(client: Client, file: LabFile, plan: LabPlan): Promise<void> {
  const clients = file.clients.map((document): ClientManifest => {
    const { address } = plan.clients.find(({ name }) => name === document.metadata.name)!;
    const both = ipv6Works() ? { address, address6: address6Of(address) } : { address };
    return { ...document, spec: { ...document.spec, ...both } };
  });
  await applyDocuments(client, [...file.sites, ...file.accessPoints, ...file.links, ...clients]);
}

const pathFrom = (base: string, path: string): string => resolve(base, path);

/** Everything that the lab file names is read once before anything is made. Errors: request_invalid, manifest_invalid. */
export function checkPaths(file: LabFile, base: string): void {
  const paths = (file.spec.images ?? []).map((image) => (image.file ?? image.function)!);
  for (const path of paths) {
    const about = statSync(pathFrom(base, path), { throwIfNoEntry: false });
    if (!about?.isFile())
      throw new SkerryError('request_invalid', `${pathFrom(base, path)} is no file: the lab imports it`);
  }
  readManifests(file, base);
}

function readManifests(file: LabFile, base: string): AnyManifest[] {
  return (file.spec.apply ?? []).flatMap((path) => {
    let text: string;
    try {
      text = readFileSync(pathFrom(base, path), 'utf8');
    } catch (cause) {
      throw new SkerryError(
        'request_invalid',
        `${pathFrom(base, path)} can not be read: the lab applies it`,
        { cause },
      );
    }
    return parseManifests(text).map(({ manifest }) => manifest);
  });
}

/** Images that are not there yet by their name. */
export async function importImages(client: Client, file: LabFile, base: string): Promise<void> {
  const { items } = await client.image.list({ project: 'default' });
  const known = new Set(items.map(({ spec }) => spec.reference));
  for (const { name, file: archive, function: source } of file.spec.images ?? []) {
    if (name !== undefined && known.has(name.includes(':') ? name : `${name}:latest`)) continue;
    if (source !== undefined) {
      const body = {
        ...{ name: name!, filename: basename(source) },
        source: readFileSync(pathFrom(base, source), 'utf8'),
      };
      await client.image.build({ project: 'default', body });
    } else {
      const path = pathFrom(base, archive!);
      await client.image.import({
        ...{ project: 'default', body: createReadStream(path), lengthBytes: statSync(path).size },
        ...(name === undefined ? {} : { reference: name }),
      });
    }
  }
}

/** Projects first, then all other documents of the lab file and of the files that it names. */
export async function applyWorkloads(client: Client, file: LabFile, base: string): Promise<void> {
  const documents = [...file.others, ...readManifests(file, base)];
  const isProject = ({ kind }: AnyManifest) => kind === 'Project';
  await applyDocuments(client, documents.filter(isProject));
  await applyDocuments(
    client,
    documents.filter((document) => !isProject(document)),
  );
}

const READY_LIMIT_MS = 60_000;

/** Until every node of the lab is ready. Errors: not_in_time. */
export async function waitForNodes(client: Client, names: readonly string[]): Promise<void> {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), READY_LIMIT_MS);
  const phases = new Map<string, string>();
  const missing = () => names.filter((name) => phases.get(name) !== 'ready');
  try {
    for await (const message of client.watch('node.list', {}, { signal: stop.signal })) {
      if (message.type === 'put') phases.set(message.object.metadata.name, message.object.status.phase);
      if (missing().length === 0) return;
    }
  } finally {
    clearTimeout(timer);
    stop.abort();
  }
  throw new SkerryError(
    'not_in_time',
    `not ready within ${READY_LIMIT_MS / 1000} s: ${missing().join(', ')}`,
  );
}

export async function placeNodes(client: Client, file: LabFile): Promise<void> {
  const { items } = await client.node.list();
  for (const { name, site } of file.spec.nodes) {
    const node = items.find(({ metadata }) => metadata.name === name);
    if (node?.spec.site !== site) await client.node.patch({ name, body: { spec: { site } } });
  }
}

export interface Reported {
  readonly nodes: readonly Node[];
  readonly instances: readonly Instance[];
}

const ANSWER_LIMIT_MS = 3000;

/** Undefined where the controller does not answer. */
export async function askController(folder: LabFolder): Promise<Reported | undefined> {
  const signal = AbortSignal.timeout(ANSWER_LIMIT_MS);
  try {
    return await withController(folder, async (client) => {
      const [nodes, projects] = await Promise.all([
        client.node.list({}, { signal }),
        client.project.list({}, { signal }),
      ]);
      const lists = await Promise.all(
        projects.items.map(({ metadata: { name } }) => client.instance.list({ project: name }, { signal })),
      );
      return { nodes: nodes.items, instances: lists.flatMap(({ items }) => items) };
    });
  } catch {
    return undefined;
  }
}
