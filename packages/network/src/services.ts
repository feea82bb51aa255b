/**
 * Services as a script of nft(8): a table of its own, made anew in one transaction. Pure.
 *
 *   packet to a virtual address -> map (protocol, address, port) -> chain of the port -> one of its best backends
 *   no backend: not in the map -> refused
 *
 * Only the first packet of a connection goes this way; the others follow the kernel's table of connections, so a change
 * here never touches one that stands.
 */
import type { Identity } from '@skerry/host';
import { isName, SkerryError } from '@skerry/model';
import { toNumber } from './addressing.ts';
import type { NetworkService, ServiceBackend } from './port.ts';

const MOST_SERVICES = 10_000;
const isPort = (port: number): boolean => Number.isInteger(port) && port > 0 && port < 65536;
const isDnsName = (name: string): boolean => name.length <= 253 && name.split('.').every(isName);

/** Errors: request_invalid, naming the service and what is wrong. */
export function checkServices(services: readonly NetworkService[]): void {
  if (services.length > MOST_SERVICES) {
    const text = `${services.length} services are more than the ${MOST_SERVICES} of a node`;
    throw new SkerryError('request_invalid', text);
  }
  const addresses = new Map<string, string>();
  for (const { uid, names, address, ports, backends } of services) {
    const wrong = (text: string) =>
      new SkerryError('request_invalid', `the service ${names[0] ?? uid} ${text}`, { details: { uid } });
    toNumber(address);
    const other = addresses.get(address);
    if (other !== undefined) throw wrong(`has the address ${address} of ${other}`);
    addresses.set(address, names[0] ?? uid);
    if (!names.every(isDnsName)) throw wrong('has a name that is none of DNS');
    const seen = new Set<string>();
    for (const { port, protocol, targetPort } of ports) {
      if (!isPort(port) || !isPort(targetPort)) throw wrong(`has no such port: ${port} to ${targetPort}`);
      if (protocol !== 'tcp' && protocol !== 'udp') throw wrong(`has the protocol ${protocol}`);
      if (seen.has(`${protocol} ${port}`)) throw wrong(`has the ${protocol} port ${port} twice`);
      seen.add(`${protocol} ${port}`);
    }
    for (const backend of backends) {
      toNumber(backend.address);
      if (!Number.isInteger(backend.tier) || backend.tier < 0) throw wrong(`has the tier ${backend.tier}`);
    }
  }
}

/** Those that receive: the open ones of the lowest tier that has any, in the order of their addresses. */
export function bestBackends(backends: readonly ServiceBackend[]): ServiceBackend[] {
  const open = backends.filter((backend) => backend.open);
  const best = Math.min(...open.map((backend) => backend.tier));
  return open
    .filter((backend) => backend.tier === best)
    .sort((a, b) => toNumber(a.address) - toNumber(b.address));
}

export const removeServicesScript = ({ nftTable }: Identity): string =>
  `add table ip ${nftTable}\ndelete table ip ${nftTable}\n`;

/** `others`: bridges of other data folders on this machine, whose guests are led by their own. */
export function servicesScript(
  identity: Identity,
  services: readonly NetworkService[],
  others: readonly string[],
): string {
  if (services.length === 0) return removeServicesScript(identity);
  const chains: string[] = [];
  const ways: string[] = [];
  for (const { address, ports, backends } of services) {
    const best = bestBackends(backends);
    if (best.length === 0) continue;
    for (const { protocol, port, targetPort } of ports) {
      const chain = `port_${chains.length}`;
      const targets = best
        .map((backend, index) => `${index} : ${backend.address} . ${targetPort}`)
        .join(', ');
      const choice = `numgen random mod ${best.length} map { ${targets} }`;
      chains.push(`  chain ${chain} { meta l4proto ${protocol} dnat ip to ${choice}; }`);
      ways.push(`    ${protocol} . ${address} . ${port} : goto ${chain}`);
    }
  }
  const lead = 'ip daddr @virtual meta l4proto . ip daddr . th dport vmap @ways';
  const notOurs =
    others.length === 0 ? '' : `iifname { ${others.map((name) => `"${name}"`).join(', ')} } return`;
  const refuse = `ip daddr @virtual meta l4proto tcp reject with tcp reset
    ip daddr @virtual reject with icmp port-unreachable`;
  return `${removeServicesScript(identity)}
table ip ${identity.nftTable} {
  set virtual {
    type ipv4_addr
    elements = { ${services.map((service) => service.address).join(', ')} }
  }
${chains.join('\n')}
  map ways {
    type inet_proto . ipv4_addr . inet_service : verdict
    ${ways.length === 0 ? '' : `elements = {\n${ways.join(',\n')}\n    }`}
  }
  chain inward {
    type nat hook prerouting priority dstnat - 1; policy accept;
    ${notOurs}
    ${lead}
  }
  chain from_host {
    type nat hook output priority -101; policy accept;
    ${lead}
  }
  chain refuse_forwarded {
    type filter hook forward priority filter - 1; policy accept;
    ${refuse}
  }
  chain refuse_from_host {
    type filter hook output priority filter - 1; policy accept;
    ${refuse}
  }
}
`;
}
