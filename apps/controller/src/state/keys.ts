/** Where each resource lies in the store: `/resources/<kind>/<project>/<name>`, without the project where a kind has none. */
export type Collection =
  | 'projects'
  | 'workloads'
  | 'instances'
  | 'images'
  | 'volumes'
  | 'nodes'
  | 'node-overheads'
  | 'node-keys'
  | 'node-tokens'
  | 'sites'
  | 'access-points'
  | 'links'
  | 'clients'
  | 'devices'
  | 'device-secrets'
  | 'device-desired'
  | 'device-reported'
  | 'device-authorities'
  | 'streams'
  | 'stream-secrets'
  | 'operations';

export const RESOURCES = '/resources/';

/** Of all of a kind, or of those of one project. Names that may hold `/` (image references) are percent-encoded. */
export const prefixOf = (collection: Collection, project?: string): string =>
  project === undefined
    ? `${RESOURCES}${collection}/`
    : `${RESOURCES}${collection}/${encodeURIComponent(project)}/`;

export const keyOf = (collection: Collection, ...parts: readonly string[]): string =>
  `${RESOURCES}${collection}/${parts.map(encodeURIComponent).join('/')}`;

export interface KeyParts {
  readonly collection: Collection;
  readonly project?: string;
  readonly name: string;
}

export function partsOf(key: string): KeyParts {
  const [collection, ...rest] = key.slice(RESOURCES.length).split('/') as [Collection, ...string[]];
  const name = decodeURIComponent(rest.at(-1) ?? '');
  return rest.length > 1 ? { collection, project: decodeURIComponent(rest[0]!), name } : { collection, name };
}
