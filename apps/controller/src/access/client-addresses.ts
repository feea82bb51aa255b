/** By which addresses a client is known, as the kernel writes them. Pure. */
import { type Client, canonicalAddress } from '@skerry/model';

export const addressesOf = ({ spec }: Pick<Client, 'spec'>): string[] =>
  [spec.address, spec.address6].flatMap((one) => (one === undefined ? [] : [canonicalAddress(one)]));
