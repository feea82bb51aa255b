/**
 * The virtual address of each workload that has ports: chosen once, kept in its status, free again when it is deleted. The
 * range is set aside for tests of network equipment (RFC 2544, RFC 6890), so that no site's own network has it.
 */
import { createHash } from 'node:crypto';
import { SkerryError, type Workload } from '@skerry/model';
import type { View } from '../state/view.ts';

/** 198.18.0.0/15 without its first and last address. */
const BASE = ((198 * 256 + 18) * 256 + 0) * 256;
const SIZE = 2 ** 17;

const textOf = (number: number): string =>
  [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join('.');

export interface ServiceAddresses {
  /** The one it has, or a free one, the same for the same workload. Errors: address_exhausted. */
  give(key: string, uid: string): string;
}

export function createServiceAddresses(view: View): ServiceAddresses {
  /** By address, the key of its workload: those that are stored, and those that are about to be. */
  const owners = new Map<string, string>();
  const addresses = new Map<string, string>();
  view.onChange((change) => {
    if (change.collection !== 'workloads') return;
    const { key } = change;
    const after = change.after as Workload | undefined;
    const known = addresses.get(key);
    const address = after?.status.serviceAddress;
    if (known !== undefined && known !== address) {
      owners.delete(known);
      addresses.delete(key);
    }
    if (address === undefined) return;
    owners.set(address, key);
    addresses.set(key, address);
  });
  return {
    give(key, uid) {
      const known = addresses.get(key);
      if (known !== undefined) return known;
      const start = createHash('sha256').update(uid).digest().readUInt32BE(0);
      for (let step = 0; step < SIZE - 2; step++) {
        const address = textOf(BASE + 1 + ((start + step) % (SIZE - 2)));
        if (owners.has(address)) continue;
        owners.set(address, key);
        addresses.set(key, address);
        return address;
      }
      throw new SkerryError('address_exhausted', `all ${SIZE - 2} addresses of services are taken`);
    },
  };
}
