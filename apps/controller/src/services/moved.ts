/**
 * Clients that moved, and the nodes where connections of theirs may have begun: each node sends what it does not know on to the
 * next one of the trail. It follows from what is stored alone. Pure.
 *
 *   attached to tower-2, before that to tower-1, before that to tower-0
 *   every node at tower-2's site -> node at tower-1's site -> node at tower-0's site
 */
import type { DesiredNetwork } from '@skerry/contract';
import type { Client } from '@skerry/model';
import { addressesOf } from '../access/client-addresses.ts';
import type { View } from '../state/view.ts';

export type MovedClient = NonNullable<DesiredNetwork['moved']>[number];

/** Access points that a client is remembered by: connections that began before are refused. */
export const MOST_FORMER = 3;

/** Of a client that leaves `from`, the latest first: each once, and not the one where it comes to. */
export const formerOf = (
  before: readonly string[] | undefined,
  from: string | undefined,
  to: string | undefined,
): string[] =>
  [...new Set([...(from === undefined ? [] : [from]), ...(before ?? [])])]
    .filter((name) => name !== to)
    .slice(0, MOST_FORMER);

/** `nodesAt`: names of the nodes at a site that take part, sorted. Returns for each node what it has to know. */
export function movedClients(
  clients: Iterable<Client>,
  siteOf: (accessPoint: string) => string | undefined,
  nodesAt: (site: string) => readonly string[],
): Map<string, MovedClient[]> {
  const found = new Map<string, MovedClient[]>();
  const add = (node: string, one: MovedClient) => {
    const known = found.get(node);
    if (known) known.push(one);
    else found.set(node, [one]);
  };
  for (const client of clients) {
    const { attachedTo } = client.spec;
    const { status } = client;
    const addresses = addressesOf(client);
    if (addresses.length === 0 || attachedTo === undefined || !status.former?.length) continue;
    const here = nodesAt(siteOf(attachedTo) ?? '');
    const trail = [
      ...new Set(status.former.flatMap((accessPoint) => nodesAt(siteOf(accessPoint) ?? ''))),
    ].filter((node) => !here.includes(node));
    if (trail.length === 0) continue;
    for (const address of addresses) {
      for (const node of here) add(node, { address, next: trail[0]! });
      for (const [at, node] of trail.entries()) {
        const next = trail[at + 1];
        add(node, { address, ...(next !== undefined && { next }) });
      }
    }
  }
  return found;
}

/** Whether any client may come to any node, and be told of only then. */
export function expectsClients(view: View): boolean {
  for (const client of view.all('clients')) if (addressesOf(client).length > 0) return true;
  return false;
}
