/**
 * The node network's IPv6: a /64 of unique local addresses (RFC 4193) that follows from the data folder's identity and its
 * IPv4 subnet, so that it is its own among all and nothing more has to be kept. A host has the same number in both. Pure.
 *
 *   fd  <identity: 32 bits>  <network address, its first 24 bits>  ::  <host number>
 */
import type { Identity } from '@skerry/host';
import { canonicalAddress, ipv6At, SkerryError } from '@skerry/model';
import { type Subnet, toNumber } from './addressing.ts';

export interface Subnet6 {
  readonly cidr: string;
  readonly gateway: string;
  readonly prefixLength: 64;
}

/** Errors: request_invalid when it is no /64. */
export function parseSubnet6(cidr: string): Subnet6 {
  const gateway = ipv6At(cidr, 1);
  if (gateway === undefined)
    throw new SkerryError(
      'request_invalid',
      `"${cidr}" is not a subnet of IPv6: write it like fd01:2:3:4::/64`,
    );
  return { cidr: `${canonicalAddress(cidr.slice(0, -'/64'.length))}/64`, gateway, prefixLength: 64 };
}

export function subnet6Of({ id }: Pick<Identity, 'id'>, subnet: Subnet): Subnet6 {
  const network = Math.floor(toNumber(subnet.network) / 256)
    .toString(16)
    .padStart(6, '0');
  const digits = `fd${id}${network}`;
  return parseSubnet6(`${(digits.match(/.{4}/g) ?? []).join(':')}::/64`);
}

/** Of the guest that has `address` in the IPv4 subnet. Errors: request_invalid for an address outside it. */
export function address6Of(subnet6: Subnet6, subnet: Subnet, address: string): string {
  const host = toNumber(address) - toNumber(subnet.network);
  if (host < 0 || host >= 2 ** (32 - subnet.prefixLength))
    throw new SkerryError('request_invalid', `${address} is not in the subnet ${subnet.cidr}`);
  return ipv6At(subnet6.cidr, host)!;
}
