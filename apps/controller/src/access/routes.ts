/** The requests about sites, access points, links and clients: the four are alike. */
import { type AccessPoint, SkerryError } from '@skerry/model';
import { type Core, change } from '../core.ts';
import { type Conditions, requireConditions } from '../http/conditions.ts';
import type { HandlersOf, JsonHandler, RequestContext } from '../http/handlers.ts';
import { type ListQuery, listing } from '../http/listing.ts';
import { manifestOf, patchedManifest } from '../manifests/request.ts';
import { keyOf } from '../state/keys.ts';
import { deleteAccess, putAccess } from './accept.ts';
import { type Attachments, createAttachments } from './attachments.ts';
import { importAccessNetwork } from './import.ts';
import { ACCESS, type AccessKind, type AccessManifest, type AccessResource } from './kinds.ts';

type AccessHandlers = HandlersOf<'site' | 'access-point' | 'link' | 'client' | 'access-network'>;
const GROUPS = { site: 'Site', 'access-point': 'AccessPoint', link: 'Link', client: 'Client' } as const;

interface Named {
  readonly name: string;
}
interface Sent extends Named {
  readonly body: unknown;
}
interface Conditioned {
  readonly conditions: Conditions;
}

export function accessRoutes(core: Core): AccessHandlers {
  const importing: JsonHandler<'access-network.import'> = async ({ body, dryRun, ...options }) => ({
    body: await importAccessNetwork(core, body, options, dryRun ?? false),
  });
  const attachments = createAttachments(core.view);
  const rows: Record<string, unknown> = { 'access-network.import': importing };
  for (const [group, kind] of Object.entries(GROUPS))
    for (const [verb, handler] of Object.entries(verbsOf(core, attachments, kind)))
      rows[`${group}.${verb}`] = handler;
  return rows as AccessHandlers;
}

function verbsOf(core: Core, attachments: Attachments, kind: AccessKind) {
  const { view } = core;
  const { collection, word } = ACCESS[kind];
  const show = (resource: AccessResource) => shown(core, attachments, resource);
  const missing = (name: string) => new SkerryError('not_found', `there is no ${word} "${name}"`);
  const answer = (name: string, gone?: AccessResource, status = 200) => {
    const stored = view.get(collection, name);
    if (stored) return { body: show(stored), status, revision: stored.metadata.revision };
    if (!gone) throw missing(name);
    return { body: gone, status };
  };
  return {
    list: async (query: ListQuery, context: RequestContext) =>
      listing(core, collection, query, context, { show: show as never }),
    show: async ({ name }: Named) => answer(name),
    async put({ name, body }: Sent, { conditions }: Conditioned) {
      const manifest = manifestOf(body, { kind, name }) as AccessManifest;
      const { result } = await change(core, [keyOf(collection, name)], true, (draft, world) =>
        putAccess(draft, world, view, manifest, conditions),
      );
      return answer(name, undefined, result.outcome === 'created' ? 201 : 200);
    },
    async patch({ name, body }: Sent, { conditions }: Conditioned) {
      await change(core, [keyOf(collection, name)], true, (draft, world) => {
        const stored = draft.get(collection, name);
        if (!stored) throw missing(name);
        requireConditions(conditions, stored.metadata.revision, `the ${word} ${name}`);
        return putAccess(draft, world, view, patchedManifest(stored, body, { kind, name }) as AccessManifest);
      });
      return answer(name);
    },
    async delete({ name }: Named, { conditions }: Conditioned) {
      const { result } = await change(core, [keyOf(collection, name)], true, (draft, world) =>
        deleteAccess(draft, world, view, kind, name, conditions),
      );
      return answer(name, result.resource);
    },
  };
}

/** With what is computed on reading. */
function shown(core: Core, attachments: Attachments, resource: AccessResource): AccessResource {
  const { name } = resource.metadata;
  if (resource.kind === 'Site') {
    const status = { nodes: attachments.nodesAt(name), accessPoints: attachments.accessPointsAt(name) };
    return { ...resource, status };
  }
  if (resource.kind !== 'AccessPoint') return resource;
  const nearest = nearestSite(core, attachments, name);
  return { ...resource, status: { clients: attachments.clientsAt(name), ...(nearest && { nearest }) } };
}

/** The nearest site that has a node. */
function nearestSite(
  { placement }: Core,
  attachments: Attachments,
  accessPoint: string,
): AccessPoint['status']['nearest'] {
  const { topology } = placement;
  if (!topology.has(accessPoint)) return undefined;
  const order = topology.order(accessPoint);
  for (let place = 0; ; place++) {
    const site = order.site(place);
    if (site < 0) return undefined;
    const name = topology.sites.name(site);
    if (attachments.nodesAt(name).length > 0) return { site: name, latencyMs: order.latencyMs(place) };
  }
}
