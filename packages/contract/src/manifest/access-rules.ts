/** What the schemas of the access network can't say of a single document. Pure. */
import { isIP, isIPv6 } from 'node:net';
import type { Refusal } from './explain.ts';
import type { ClientManifest, LinkManifest } from './kinds.ts';

export function refuseLink({ spec }: LinkManifest): Refusal[] {
  const [from, to] = spec.between;
  if (from !== to) return [];
  return [
    { path: ['spec', 'between'], atKey: false, message: `"${to}" is named twice: a link has two ends` },
  ];
}

export function refuseClient({ spec }: ClientManifest): Refusal[] {
  const refusals: Refusal[] = [];
  const refuse = (field: string, message: string) =>
    refusals.push({ path: ['spec', field], atKey: false, message });
  const { address, address6 } = spec;
  if (address !== undefined && isIP(address) === 0)
    refuse('address', `"${address}" is no IPv4 or IPv6 address`);
  if (address6 !== undefined && !isIPv6(address6)) refuse('address6', `"${address6}" is no IPv6 address`);
  return refusals;
}
