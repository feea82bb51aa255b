/**
 * Clients move by themselves: a node sees a client's address at an interface that serves an access point, and tells. The client
 * is attached there from then on, unless somebody said otherwise after it was seen, or it flaps (damping.ts): then to where it
 * was seen last, as soon as it may be moved. A node is believed for access points that stand at its own site, and no others.
 */
import type { Sighting } from '@skerry/contract';
import { type Client, canonicalAddress } from '@skerry/model';
import { type Core, change } from '../core.ts';
import { patchedManifest } from '../manifests/request.ts';
import { keyOf } from '../state/keys.ts';
import { putAccess } from './accept.ts';
import { addressesOf } from './client-addresses.ts';
import { Damping } from './damping.ts';
import type { AccessManifest } from './kinds.ts';

export interface Sightings {
  /** Resolves when what follows at once is durable. Errors: store_*. */
  take(node: string, sightings: readonly Sighting[]): Promise<void>;
  stop(): void;
}

interface Seen {
  readonly node: string;
  readonly accessPoint: string;
  /** Wall clock. */
  readonly atMs: number;
}
interface Moving {
  readonly damping: Damping;
  last: Seen;
  /** The last time that it was moved from here: it was said when the client was seen, not when that was written. */
  ours: { readonly attachedAt: string | undefined; readonly atMs: number } | undefined;
  cancel: (() => void) | undefined;
}

/** Beyond, those that have calmed down are looked for and forgotten. */
const MANY = 1000;
/** Nodes may say what they want: no more doubts than this are told, and kept. */
const MOST_DOUBTS = 1000;

/** When it was last said where the client is. */
function saidAtMs({ status, metadata }: Client, ours: Moving['ours']): number {
  if (ours && status.attachedAt === ours.attachedAt) return ours.atMs;
  return Date.parse(status.attachedAt ?? metadata.updatedAt);
}

export function createSightings(core: Core): Sightings {
  const { view, clock, logger } = core;
  const moving = new Map<string, Moving>();
  const doubted = new Set<string>();
  let byAddress: Map<string, string> | undefined;
  view.onChange(({ collection, before, after }) => {
    if (collection !== 'clients') return;
    const [was, is] = [before, after] as (Client | undefined)[];
    const isSame = was?.spec.address === is?.spec.address && was?.spec.address6 === is?.spec.address6;
    if (!isSame) byAddress = undefined;
  });

  const nameOf = (address: string): string | undefined => {
    byAddress ??= new Map(
      [...view.all('clients')].flatMap((client) =>
        addressesOf(client).map((address) => [address, client.metadata.name] as const),
      ),
    );
    return byAddress.get(canonicalAddress(address));
  };

  const isBelieved = (node: string, client: string, accessPoint: string): boolean => {
    const site = view.get('nodes', node)?.spec.site;
    if (site !== undefined && view.get('access-points', accessPoint)?.spec.site === site) return true;
    const doubt = `${node} ${accessPoint}`;
    if (doubted.has(doubt) || doubted.size >= MOST_DOUBTS) return false;
    doubted.add(doubt);
    const where =
      site === undefined ? 'and it has no site itself' : `which does not stand at its site ${site}`;
    const message = `client ${client} was seen at ${accessPoint}, ${where}: not believed. Set spec.site of the node and of the access point to the same site`;
    core.events.emit({
      type: 'warning',
      reason: 'NotBelieved',
      message,
      about: { kind: 'Node', name: node },
    });
    return false;
  };

  const isDue = (
    client: Client | undefined,
    { last, ours }: Pick<Moving, 'last' | 'ours'>,
  ): client is Client =>
    client !== undefined &&
    client.spec.attachedTo !== last.accessPoint &&
    saidAtMs(client, ours) <= last.atMs;

  async function move(name: string, one: Moving): Promise<void> {
    const { last } = one;
    if (!isDue(view.get('clients', name), one)) return;
    one.damping.moved(clock.monotonicMs());
    const { result: attachedAt } = await change(core, [keyOf('clients', name)], false, (draft, world) => {
      const client = draft.get('clients', name);
      // its access point, or the client, may have been deleted or changed meanwhile
      if (!isDue(client, { last, ours: one.ours })) return undefined;
      if (!draft.get('access-points', last.accessPoint)) return undefined;
      const body = { spec: { attachedTo: last.accessPoint } };
      const manifest = patchedManifest(client, body, { kind: 'Client', name }) as AccessManifest;
      const { resource } = putAccess(draft, world, view, manifest, {}, last.node);
      return (resource as Client).status.attachedAt;
    });
    if (attachedAt !== undefined) one.ours = { attachedAt, atMs: last.atMs };
  }

  function seen(name: string, last: Seen): Promise<void> | undefined {
    let one = moving.get(name);
    if (!one) {
      if (!isDue(view.get('clients', name), { last, ours: undefined })) return undefined;
      one = { damping: new Damping(), last, ours: undefined, cancel: undefined };
      moving.set(name, one);
    } else if (one.last.atMs > last.atMs) return undefined;
    const known = one;
    known.last = last;
    if (known.cancel) return undefined;
    const waitMs = known.damping.waitMs(clock.monotonicMs());
    if (waitMs === 0) return move(name, known);
    known.cancel = clock.after(waitMs, () => {
      known.cancel = undefined;
      move(name, known).catch((error) =>
        logger.error({ err: error, client: name }, 'a client was not moved'),
      );
    });
    return undefined;
  }

  return {
    async take(node, sightings) {
      const nowMs = clock.nowMs();
      if (moving.size > MANY)
        for (const [name, { damping, cancel }] of moving)
          if (!cancel && damping.isCalm(clock.monotonicMs())) moving.delete(name);
      const moves = sightings.map(({ address, accessPoint, ageMs }) => {
        const name = nameOf(address);
        if (name === undefined || !isBelieved(node, name, accessPoint)) return undefined;
        return seen(name, { node, accessPoint, atMs: nowMs - ageMs });
      });
      await Promise.all(moves);
    },
    stop() {
      for (const { cancel } of moving.values()) cancel?.();
      moving.clear();
    },
  };
}
