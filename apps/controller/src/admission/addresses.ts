/** Addresses of a node network: the first is the gateway, guests begin at host number 2. Pure. */
import { ipv6At, SkerryError, takesIpv6 } from '@skerry/model';

const FIRST_SLOT = 2;

export interface Subnet {
  readonly base: number;
  readonly prefixLength: number;
  /** Highest host number that a guest may have; the one after it is the broadcast address. */
  readonly lastSlot: number;
}

/** Of IPv4 CIDR text. Errors: request_invalid. */
export function parseSubnet(cidr: string): Subnet {
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\/(\d+)$/.exec(cidr);
  const numbers = match?.slice(1).map(Number);
  if (!numbers || numbers.slice(0, 4).some((n) => n > 255) || numbers[4]! < 8 || numbers[4]! > 29) {
    throw new SkerryError('request_invalid', `"${cidr}" is no IPv4 network between /8 and /29`);
  }
  const [a, b, c, d, prefixLength] = numbers as [number, number, number, number, number];
  const size = 2 ** (32 - prefixLength);
  const address = ((a * 256 + b) * 256 + c) * 256 + d;
  return { base: address - (address % size), prefixLength, lastSlot: size - 2 };
}

const octets = (subnet: Subnet, slot: number): number[] => {
  const address = subnet.base + slot;
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256);
};

export const addressOf = (subnet: Subnet, slot: number): string => octets(subnet, slot).join('.');

/** The same host number in the node's /64, where it has one and the guest takes it. */
export function address6For(
  cidr: string | undefined,
  spec: Parameters<typeof takesIpv6>[0],
  slot: number,
): { readonly address6?: string } {
  const address6 = cidr !== undefined && takesIpv6(spec) ? ipv6At(cidr, slot) : undefined;
  return address6 === undefined ? {} : { address6 };
}

/** `02:…` is locally administered (IEEE 802); the rest says the address, so it is unique where that is. */
export const macOf = (subnet: Subnet, slot: number): string =>
  ['02', '53', ...octets(subnet, slot).map((n) => n.toString(16).padStart(2, '0'))].join(':');

/** A free host number, searched from `from` on and around; undefined where there is none. */
export function freeSlot(
  subnet: Subnet,
  taken: ReadonlyMap<number, string>,
  from = FIRST_SLOT,
): number | undefined {
  const count = subnet.lastSlot - FIRST_SLOT + 1;
  if (taken.size >= count) return undefined;
  for (let i = 0; i < count; i++) {
    const slot = FIRST_SLOT + ((Math.max(from, FIRST_SLOT) - FIRST_SLOT + i) % count);
    if (!taken.has(slot)) return slot;
  }
  return undefined;
}
