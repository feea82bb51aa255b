/**
 * The addresses of a lab: a subnet that derives from its identity and meets no network of this machine; and one of IPv6 for each,
 * which follows from it.
 */
import type { Identity } from '@skerry/host';
import { ipv6At, SkerryError } from '@skerry/model';
import { overlapping, type Taken, takenRanges, toAddress, toNumber } from '@skerry/network';

const PREFIX_LENGTH = 20; // 4094 addresses: more than a lab has parts
const SIZE = 2 ** (32 - PREFIX_LENGTH);
/** 10.128.0.0/9: the half of private space (RFC 1918) where nodes do not look for the subnets of their guests. */
const BASE = toNumber('10.128.0.0');
const COUNT = 2 ** 23 / SIZE;

/**
 * The first that meets nothing, from a place that derives from the identity. A wide route (a VPN's) may cover all of them: then
 * only networks no wider than a lab's are avoided, for nothing of a lab leaves it. Pure. Errors: address_exhausted.
 */
export function pickLabSubnet(id: string, taken: readonly Taken[]): string {
  const seed = Number.parseInt(id, 16);
  for (const relevant of [taken, taken.filter(({ prefixLength }) => prefixLength >= PREFIX_LENGTH)]) {
    for (let step = 0; step < COUNT; step++) {
      const cidr = `${toAddress(BASE + ((seed + step) % COUNT) * SIZE)}/${PREFIX_LENGTH}`;
      if (!overlapping(cidr, relevant)) return cidr;
    }
  }
  throw new SkerryError(
    'address_exhausted',
    'every subnet that a lab may use meets a network of this machine',
  );
}

export async function chooseLabSubnet(id: string, signal: AbortSignal): Promise<string> {
  return pickLabSubnet(id, await takenRanges({ bridge: '' } as Pick<Identity, 'bridge'>, signal));
}

/** The address with this number in the subnet, from 1. Errors: address_exhausted. */
export function addressAt(subnet: string, index: number): string {
  if (index < 1 || index > SIZE - 2)
    throw new SkerryError('address_exhausted', `the lab's subnet ${subnet} has room for ${SIZE - 2}`);
  return toAddress(toNumber(subnet.split('/')[0]!) + index);
}

/** Unique local addresses (RFC 4193), of all labs: nothing of one leaves it. Each part's ends with its IPv4 address. */
export const LAB_SUBNET6 = 'fdd2:6dd7:ba15:2::/64';
/** Of the link (RFC 4291, 2.5.6): the same at every interface of a part, which is its neighbours' next step. */
export const linkLocalOf = (address: string): string => ipv6At('fe80::/64', toNumber(address))!;
export const address6Of = (address: string): string => ipv6At(LAB_SUBNET6, toNumber(address))!;
