/** The addresses of this machine at which others may reach it. */
import { networkInterfaces } from 'node:os';
import type { Identity } from './identity.ts';

/** IPv4 first; without loopback, link-local ones and those of Skerry's own interfaces. */
export function machineAddresses({ interfacePrefix }: Identity): string[] {
  const all = Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) =>
    name.startsWith(interfacePrefix) ? [] : addresses,
  );
  const reachable = all.filter(
    ({ internal, address }) => !internal && !/^(fe[89ab]|169\.254\.)/i.test(address),
  );
  return [
    ...reachable.filter(({ family }) => family === 'IPv4'),
    ...reachable.filter(({ family }) => family === 'IPv6'),
  ].map(({ address }) => address);
}
