/**
 * Chooses the subnet of a data folder, once: the caller keeps it in the folder. It begins at a place that derives from the
 * identity and goes on until it meets no address, route or name server of the host; the bridges of other data folders
 * are among these.
 */
import { readFileSync } from 'node:fs';
import { type Identity, ipJson } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import { toAddress, toNumber } from './addressing.ts';

const PREFIX_LENGTH = 22; // 1021 guests: more than one node of the edge carries
const SIZE = 2 ** (32 - PREFIX_LENGTH);
/** Private space (RFC 1918) that Docker (172.17/16 up), libvirt (192.168.122/24) and home routers leave alone; then the rest. */
const POOLS = [
  { base: toNumber('10.64.0.0'), count: 2 ** 22 / SIZE },
  { base: toNumber('172.16.0.0'), count: 2 ** 20 / SIZE },
] as const;

export interface Taken {
  readonly first: number;
  readonly last: number;
  readonly prefixLength: number;
  /** For people: `192.0.2.0/24 on eth0`. */
  readonly what: string;
}

export function rangeOf(cidr: string, what: string): Taken {
  const [address = '', length = '32'] = cidr.split('/');
  const size = 2 ** (32 - Number(length));
  const first = Math.floor(toNumber(address) / size) * size;
  return { first, last: first + size - 1, prefixLength: Number(length), what };
}

export const overlapping = (cidr: string, taken: readonly Taken[]): Taken | undefined => {
  const { first, last } = rangeOf(cidr, cidr);
  return taken.find((range) => range.first <= last && range.last >= first);
};

/**
 * The first candidate that meets nothing. A route that is wider than a candidate is no conflict by itself (the longer
 * prefix wins), but it is avoided while there is another choice. Errors: address_exhausted.
 */
export function pickSubnet(id: string, taken: readonly Taken[]): string {
  return pickSubnets(id, taken, 1)[0]!;
}

/** As `pickSubnet`, with others to fall back on: at least one, at most `most`. Errors: address_exhausted. */
export function pickSubnets(id: string, taken: readonly Taken[], most: number): string[] {
  const found = new Set<string>();
  const seed = Number.parseInt(id, 16);
  for (const relevant of [taken, taken.filter((range) => range.prefixLength >= PREFIX_LENGTH)]) {
    for (const { base, count } of POOLS) {
      for (let step = 0; step < count; step++) {
        const cidr = `${toAddress(base + ((seed + step) % count) * SIZE)}/${PREFIX_LENGTH}`;
        if (!overlapping(cidr, relevant)) found.add(cidr);
        if (found.size >= most) return [...found];
      }
    }
  }
  if (found.size > 0) return [...found];
  throw new SkerryError(
    'address_exhausted',
    'every subnet that Skerry may use meets a network of this machine',
  );
}

interface AddressRow {
  readonly ifname: string;
  readonly addr_info?: readonly { readonly local?: string; readonly prefixlen?: number }[];
}
interface RouteRow {
  readonly dst: string;
  readonly dev?: string;
}

/** What of IPv4 the host uses: addresses with their prefix, routes of all tables, name servers. Not: our own bridge. */
export async function takenRanges(identity: Pick<Identity, 'bridge'>, signal: AbortSignal): Promise<Taken[]> {
  const [addresses, routes] = await Promise.all([
    ipJson<AddressRow>(['-4', 'addr'], signal),
    ipJson<RouteRow>(['-4', 'route', 'show', 'table', 'all'], signal),
  ]);
  const ranges: Taken[] = [];
  for (const row of addresses) {
    if (row.ifname === identity.bridge) continue;
    for (const { local, prefixlen } of row.addr_info ?? []) {
      if (local !== undefined)
        ranges.push(rangeOf(`${local}/${prefixlen ?? 32}`, `${local} of ${row.ifname}`));
    }
  }
  for (const { dst, dev } of routes) {
    if (dst === 'default' || dev === identity.bridge) continue;
    ranges.push(rangeOf(dst, `the route to ${dst}${dev === undefined ? '' : ` by ${dev}`}`));
  }
  for (const server of nameServers()) ranges.push(rangeOf(`${server}/32`, `the name server ${server}`));
  return ranges;
}

function nameServers(): string[] {
  try {
    const text = readFileSync('/etc/resolv.conf', 'utf8');
    return [...text.matchAll(/^nameserver\s+(\d+\.\d+\.\d+\.\d+)\s*$/gm)].map((match) => match[1]!);
  } catch {
    return [];
  }
}

/** As `chooseSubnet`, with others to fall back on, the best one first. */
export async function offerSubnets(identity: Identity, most: number, signal: AbortSignal): Promise<string[]> {
  return pickSubnets(identity.id, await takenRanges(identity, signal), most);
}

/** A CIDR like `10.64.8.0/22`. Errors: address_exhausted, host_command_failed. */
export async function chooseSubnet(identity: Identity, signal: AbortSignal): Promise<string> {
  return pickSubnet(identity.id, await takenRanges(identity, signal));
}
