/** What of the node network works, and where not, what to do: each finding comes from looking or trying, now. */
import { type Identity, ipv6Forwarding, linkState, type NftChain, nftChains, readSysctl } from '@skerry/host';
import { asSkerryError, type ProbeFinding } from '@skerry/model';
import type { Subnet } from './addressing.ts';
import type { Subnet6 } from './addressing6.ts';
import { forwarding6IsOurs, forwardingIsOurs } from './forwarding.ts';
import { probeKernel } from './kernel-probe.ts';
import type { NameServer } from './name-server.ts';
import { overlapping, takenRanges } from './subnet.ts';

const ok = (name: string, text: string): ProbeFinding => ({ name, ok: true, level: 'ok', text });
const lacks = (name: string, level: 'degraded' | 'missing', text: string, remedy: string): ProbeFinding => ({
  name,
  ok: level !== 'missing',
  level,
  text,
  remedy,
});

const RESTART = 'Start the program again: it makes what is missing.';

function bridgeFinding(identity: Identity, subnet: Subnet): ProbeFinding {
  const link = linkState(identity.bridge);
  if (!link) return lacks('network.bridge', 'missing', `there is no bridge ${identity.bridge}`, RESTART);
  if (!link.up) {
    const remedy = `Turn it on: ip link set ${identity.bridge} up`;
    return lacks('network.bridge', 'missing', `the bridge ${identity.bridge} is down`, remedy);
  }
  return ok('network.bridge', `${identity.bridge} carries ${subnet.cidr}, MTU ${link.mtu}`);
}

function forwardFinding(identity: Identity, chains: readonly NftChain[]): ProbeFinding {
  const name = 'network.forward_policy';
  const strict = chains.find(
    (chain) => chain.hook === 'forward' && chain.policy === 'drop' && chain.table !== identity.nftTable,
  );
  if (!strict) return ok(name, 'no other table drops what the host forwards');
  const chain =
    strict.name === 'FORWARD' && chains.some((other) => other.name === 'DOCKER-USER')
      ? 'DOCKER-USER'
      : 'FORWARD';
  const { bridge } = identity;
  const own = `Accept it there, in both directions: nft insert rule ${strict.family} ${strict.table} ${strict.name} iifname ${bridge} accept; nft insert rule ${strict.family} ${strict.table} ${strict.name} oifname ${bridge} accept`;
  const iptables = `Let the bridge through: iptables -I ${chain} -i ${bridge} -j ACCEPT; iptables -I ${chain} -o ${bridge} -j ACCEPT`;
  return lacks(
    name,
    'degraded',
    `the chain ${strict.name} of the table ${strict.family} ${strict.table} drops forwarded packets: guests may reach neither the outside nor their published ports`,
    strict.name === 'FORWARD' ? iptables : own,
  );
}

function filterFinding(identity: Identity, chains: readonly NftChain[]): ProbeFinding {
  const families = new Set(chains.filter((chain) => chain.table === identity.nftTable).map((c) => c.family));
  if (families.has('inet') && families.has('bridge')) {
    return ok('network.nftables', `the table ${identity.nftTable} is in place`);
  }
  return lacks('network.nftables', 'missing', `the table ${identity.nftTable} is not in place`, RESTART);
}

async function filterFindings(identity: Identity, signal: AbortSignal): Promise<ProbeFinding[]> {
  try {
    const chains = await nftChains(signal);
    return [filterFinding(identity, chains), forwardFinding(identity, chains)];
  } catch (error) {
    const { message } = asSkerryError(error);
    return [lacks('network.nftables', 'missing', message, 'Install the package nftables.')];
  }
}

function ipForwardFinding(identity: Identity): ProbeFinding {
  const name = 'network.ip_forward';
  if (readSysctl('net/ipv4/ip_forward') !== '1') {
    return lacks(name, 'missing', 'the host forwards no packets of IPv4', 'sysctl -w net.ipv4.ip_forward=1');
  }
  const whose = forwardingIsOurs(identity)
    ? 'turned on by Skerry until its last data folder is removed'
    : 'was on';
  return ok(name, `the host forwards packets of IPv4 (${whose})`);
}

function ipv6Finding(identity: Identity, subnet6: Subnet6 | undefined): ProbeFinding {
  const name = 'network.ipv6';
  if (subnet6 === undefined) {
    const remedy =
      'Turn IPv6 on (sysctl net.ipv6.conf.all.disable_ipv6=0, and default), or use an interface with an MTU of 1330 or more; then start the program again.';
    return lacks(name, 'degraded', 'guests of this node have IPv4 only', remedy);
  }
  if (ipv6Forwarding() !== '1')
    return lacks(name, 'degraded', 'the host forwards no packets of IPv6', RESTART);
  const whose = forwarding6IsOurs(identity)
    ? 'turned on by Skerry until its last data folder is removed'
    : 'was on';
  return ok(name, `${identity.bridge} carries ${subnet6.cidr}; forwarding ${whose}`);
}

async function subnetFinding(identity: Identity, subnet: Subnet, signal: AbortSignal): Promise<ProbeFinding> {
  const conflict = overlapping(
    subnet.cidr,
    (await takenRanges(identity, signal)).filter((range) => range.prefixLength >= subnet.prefixLength),
  );
  if (!conflict) return ok('network.subnet', `${subnet.cidr} meets no other network of this machine`);
  return lacks(
    'network.subnet',
    'degraded',
    `${subnet.cidr} meets ${conflict.what}`,
    'Remove that address or route, or use a new data folder.',
  );
}

function nameServerFinding(names: NameServer): ProbeFinding {
  if (names.running()) return ok('network.dnsmasq', 'the name server runs');
  const remedy = 'Install the package dnsmasq-base; its last words are in dnsmasq/log of the run folder.';
  const why = names.trouble();
  const text = `the name server dnsmasq does not run${why === undefined ? '' : `: ${why}`}`;
  return lacks('network.dnsmasq', 'missing', text, remedy);
}

/** The kernel takes the larger value of an interface's own and of all. */
function reversePathFinding(): ProbeFinding {
  const name = 'network.reverse_path';
  if (readSysctl('net/ipv4/conf/all/rp_filter') === '0')
    return ok(name, 'connections of clients that come from another node can be followed');
  return lacks(
    name,
    'degraded',
    'the reverse path filter is on for all interfaces: connections of clients that come from another node break',
    'Leave it to each interface: sysctl -w net.ipv4.conf.all.rp_filter=0 (interfaces keep their own values)',
  );
}

export async function probeNetwork(
  identity: Identity,
  subnet: Subnet,
  subnet6: Subnet6 | undefined,
  names: NameServer,
  signal: AbortSignal,
): Promise<ProbeFinding[]> {
  const [filter, meets, kernel] = await Promise.all([
    filterFindings(identity, signal),
    subnetFinding(identity, subnet, signal),
    probeKernel(identity, signal),
  ]);
  return [
    bridgeFinding(identity, subnet),
    meets,
    ...filter,
    ipForwardFinding(identity),
    reversePathFinding(),
    ipv6Finding(identity, subnet6),
    nameServerFinding(names),
    ...kernel,
  ];
}
