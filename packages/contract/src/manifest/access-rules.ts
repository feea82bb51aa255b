/** What the schemas of the access network can't say of a single document. Pure. */
import { isIP } from 'node:net';
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
  if (spec.address === undefined || isIP(spec.address) !== 0) return [];
  return [
    { path: ['spec', 'address'], atKey: false, message: `"${spec.address}" is no IPv4 or IPv6 address` },
  ];
}
