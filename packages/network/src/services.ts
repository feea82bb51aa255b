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
import { canonicalAddress, ipv6Groups, isName, SkerryError } from '@skerry/model';
import { toNumber } from './addressing.ts';
import { overlayDevice } from './peers.ts';
import type { NetworkService, ServiceBackend, ServicePort } from './port.ts';

const MOST_SERVICES = 10_000;
const isIpv6 = (address: string): boolean => ipv6Groups(address) !== undefined;
const isPort = (port: number): boolean => Number.isInteger(port) && port > 0 && port < 65536;
const isDnsName = (name: string): boolean => name.length <= 253 && name.split('.').every(isName);

/** Errors: request_invalid, naming the service and what is wrong. */
export function checkServices(services: readonly NetworkService[]): void {
  if (services.length > MOST_SERVICES) {
    const text = `${services.length} services are more than the ${MOST_SERVICES} of a node`;
    throw new SkerryError('request_invalid', text);
  }
  const addresses = new Map<string, string>();
  for (const { uid, names, address, address6, ports, backends } of services) {
    const wrong = (text: string) =>
      new SkerryError('request_invalid', `the service ${names[0] ?? uid} ${text}`, { details: { uid } });
    toNumber(address);
    const other = addresses.get(address);
    if (other !== undefined) throw wrong(`has the address ${address} of ${other}`);
    addresses.set(address, names[0] ?? uid);
    if (address6 !== undefined) {
      if (!isIpv6(address6)) throw wrong(`has the address ${address6}, which is none of IPv6`);
      const twin = addresses.get(canonicalAddress(address6));
      if (twin !== undefined) throw wrong(`has the address ${address6} of ${twin}`);
      addresses.set(canonicalAddress(address6), names[0] ?? uid);
    }
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
      if (backend.address6 !== undefined && !isIpv6(backend.address6))
        throw wrong(`has a backend at ${backend.address6}, which is no address of IPv6`);
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

/** The service as nodes can keep it: by IPv6 only where this node has it, and a backend. */
export function offered(service: NetworkService, ipv6: boolean): NetworkService {
  if (ipv6 && service.backends.some(({ address6 }) => address6 !== undefined)) return service;
  const { address6: _, ...rest } = service;
  return rest;
}

type Family = 'ip' | 'ip6';
const FAMILIES: readonly Family[] = ['ip', 'ip6'];
const WORDS = {
  ip: { type: 'ipv4_addr', unreachable: 'icmp port-unreachable' },
  ip6: { type: 'ipv6_addr', unreachable: 'icmpv6 port-unreachable' },
} as const;

export const removeServicesScript = (identity: Identity): string =>
  FAMILIES.map((family) => removeTable(identity, family)).join('');

const removeTable = ({ nftTable }: Identity, family: Family): string =>
  `add table ${family} ${nftTable}\ndelete table ${family} ${nftTable}\n`;

interface Led {
  readonly address: string;
  readonly ports: readonly ServicePort[];
  /** Addresses of those that receive. */
  readonly best: readonly string[];
}

function ledBy(family: Family, services: readonly NetworkService[]): Led[] {
  if (family === 'ip')
    return services.map(({ address, ports, backends }) => {
      return { address, ports, best: bestBackends(backends).map((backend) => backend.address) };
    });
  return services.flatMap(({ address6, ports, backends }) => {
    if (address6 === undefined) return [];
    const able = backends.filter((backend) => backend.address6 !== undefined);
    return [{ address: address6, ports, best: bestBackends(able).map((backend) => backend.address6!) }];
  });
}

/** `others`: bridges of other data folders on this machine, whose guests are led by their own. */
export function servicesScript(
  identity: Identity,
  services: readonly NetworkService[],
  others: readonly string[],
): string {
  return FAMILIES.map((family) => familyScript(identity, family, ledBy(family, services), others)).join('');
}

function familyScript(
  identity: Identity,
  family: Family,
  services: readonly Led[],
  others: readonly string[],
): string {
  if (services.length === 0) return removeTable(identity, family);
  const { type, unreachable } = WORDS[family];
  const chains: string[] = [];
  const ways: string[] = [];
  for (const { address, ports, best } of services) {
    if (best.length === 0) continue;
    for (const { protocol, port, targetPort } of ports) {
      const chain = `port_${chains.length}`;
      const targets = best.map((backend, index) => `${index} : ${backend} . ${targetPort}`).join(', ');
      const choice = `numgen random mod ${best.length} map { ${targets} }`;
      chains.push(`  chain ${chain} { meta l4proto ${protocol} dnat ${family} to ${choice}; }`);
      ways.push(`    ${protocol} . ${address} . ${port} : goto ${chain}`);
    }
  }
  const lead = `${family} daddr @virtual meta l4proto . ${family} daddr . th dport vmap @ways`;
  const notOurs =
    others.length === 0 ? '' : `iifname { ${others.map((name) => `"${name}"`).join(', ')} } return`;
  const refuse = `${family} daddr @virtual meta l4proto tcp reject with tcp reset
    ${family} daddr @virtual reject with ${unreachable}`;
  return `${removeTable(identity, family)}
table ${family} ${identity.nftTable} {
  set virtual {
    type ${type}
    elements = { ${services.map((service) => service.address).join(', ')} }
  }
${chains.join('\n')}
  map ways {
    type inet_proto . ${type} . inet_service : verdict
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
    oifname "${overlayDevice(identity)}" ct state untracked accept comment "sent on as it came: see strays.ts"
    ${refuse}
  }
}
`;
}
