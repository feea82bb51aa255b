/**
 * The numbers of IPv6 that follow from those of IPv4, so that nothing more has to be kept: a guest has the same host number
 * in both networks of its node, and a service the same last 32 bits. Pure.
 */
import { canonicalAddress } from './canonical-address.ts';
import { GUEST_DEFAULTS } from './guest-defaults.ts';
import type { RuntimeKind } from './runtime-kinds.ts';
import type { WorkloadSpec } from './schema/index.ts';

/**
 * Of the virtual addresses of services, on every edge: a /64 of unique local addresses (RFC 4193), its 40 bits drawn once at
 * random. As 198.18.0.0/15 it is led on by nodes only and routed nowhere else.
 */
export const SERVICE_PREFIX6 = 'fdd2:6dd7:ba15:1::/64';

/** Guests whose interface the node sets up itself: what it gives them they have. What others make of it nobody knows. */
export const hasSureIpv6 = (runtime: RuntimeKind): boolean => runtime === 'container' || runtime === 'system';

/** Whether a guest is given an address: not one whose kernel would not hear of it (unikernels; a network set up by hand). */
export function takesIpv6({
  runtime,
  address,
  vm,
}: Pick<WorkloadSpec, 'runtime' | 'address' | 'vm'>): boolean {
  if (runtime !== 'vm') return hasSureIpv6(runtime);
  return (address ?? GUEST_DEFAULTS.addressing) === 'static' && vm?.cloudInit?.networkConfig === undefined;
}

/** The eight groups; undefined for what is no IPv6 address, or has a zone. */
export function ipv6Groups(address: string): number[] | undefined {
  if (!/^[0-9a-f:.]+$/i.test(address) || !address.includes(':')) return undefined;
  const [head = '', tail, more] = canonicalAddress(address).split('::');
  if (more !== undefined) return undefined;
  const [first, last] = [head, tail ?? ''].map((part) => part.split(':').filter(Boolean));
  const missing = 8 - first!.length - last!.length;
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  const groups = [...first!, ...Array<string>(missing).fill('0'), ...last!];
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/.test(group))) return undefined;
  return groups.map((group) => Number.parseInt(group, 16));
}

/** All 32 digits, without colons. */
export const ipv6Hex = (address: string): string =>
  (ipv6Groups(address) ?? []).map((group) => group.toString(16).padStart(4, '0')).join('');

/** As the kernel prints it (RFC 5952). */
export const ipv6Text = (groups: readonly number[]): string =>
  canonicalAddress(groups.map((group) => group.toString(16)).join(':'));

/** The address with this number, up to 32 bits, in a /64; undefined where that is none. */
export function ipv6At(cidr: string, host: number): string | undefined {
  const groups = cidr.endsWith('/64') ? ipv6Groups(cidr.slice(0, -'/64'.length)) : undefined;
  if (!groups || groups.slice(4).some((group) => group !== 0)) return undefined;
  return ipv6Text([...groups.slice(0, 6), Math.floor(host / 2 ** 16), host % 2 ** 16]);
}

/** The virtual IPv6 address of the service that has this virtual IPv4 address. */
export function serviceAddress6(address: string): string {
  const number = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  return ipv6At(SERVICE_PREFIX6, number)!;
}
