/**
 * The kernel settings that the node network needs, and giving back those that are not ours alone: forwarding of IPv4 and of
 * IPv6. What they were before the first data folder turned them on is written in /run/skerry, in ip_forward and ip6_forward-<number of
 * the network namespace>; the last one to go restores it.
 */
import { mkdirSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  type Identity,
  ipv6Forwarding,
  listLinks,
  ownNetns,
  readSysctl,
  setIpv6Forwarding,
  writeSysctl,
} from '@skerry/host';

const FORWARD = 'net/ipv4/ip_forward';

interface Setting {
  record(): string;
  read(): string | undefined;
  write(value: '0' | '1'): void;
}
const IPV4: Setting = {
  record: () => 'ip_forward',
  read: () => readSysctl(FORWARD),
  write: (value) => writeSysctl(FORWARD, value),
};
const IPV6: Setting = {
  record: () => `ip6_forward-${ownNetns()}`,
  read: ipv6Forwarding,
  write: setIpv6Forwarding,
};

const recordOf = (identity: Identity, { record }: Setting): string =>
  join(dirname(identity.runDir), record());

/** Errors: host_missing where a setting can not be written. */
export function enableForwarding(identity: Identity): void {
  // packets to 127.0.0.1 that lead to a guest come back as packets for 127.0.0.1 (ip-sysctl: route_localnet)
  writeSysctl(`net/ipv4/conf/${identity.bridge}/route_localnet`, '1');
  enable(identity, IPV4);
}

/** Errors: host_missing where it can not be written. */
export const enableForwarding6 = (identity: Identity): void => enable(identity, IPV6);

/** An interface of ours that carries IPv6 of guests: it has the addresses that we give it, and believes no router. */
export function useIpv6(device: string): void {
  const settings = {
    accept_ra: '0',
    accept_redirects: '0',
    accept_dad: '0',
    forwarding: '1',
    disable_ipv6: '0',
  };
  for (const [name, value] of Object.entries(settings)) writeSysctl(`net/ipv6/conf/${device}/${name}`, value);
}

function enable(identity: Identity, setting: Setting): void {
  const before = setting.read();
  if (before !== '1') turnOn(identity, setting, before ?? '0');
}

function turnOn(identity: Identity, setting: Setting, before: string): void {
  mkdirSync(dirname(identity.runDir), { recursive: true, mode: 0o755 });
  try {
    symlinkSync(before, recordOf(identity, setting));
  } catch {
    // another data folder wrote it first, and somebody turned it off since
  }
  setting.write('1');
}

/** Where the kernel has it at all. */
export function turnOffIpv6(device: string): void {
  const setting = `net/ipv6/conf/${device}/disable_ipv6`;
  if (readSysctl(setting) !== undefined) writeSysctl(setting, '1');
}

/** Bridges of other data folders on this host. */
export const otherBridges = (identity: Identity): string[] =>
  listLinks('sk')
    .map((link) => link.name)
    .filter((name) => /^sk[0-9a-f]{8}br$/.test(name) && name !== identity.bridge);

export function restoreForwarding(identity: Identity): void {
  for (const setting of [IPV4, IPV6]) restore(identity, setting);
}

function restore(identity: Identity, setting: Setting): void {
  if (otherBridges(identity).length > 0) return;
  let before: string;
  try {
    before = readlinkSync(recordOf(identity, setting));
  } catch {
    return; // it was on before we came
  }
  rmSync(recordOf(identity, setting), { force: true });
  if (setting.read() !== undefined) setting.write(before === '1' ? '1' : '0');
  // one that came at this very moment made its bridge before it looked at the setting
  if (before !== '1' && otherBridges(identity).length > 0) turnOn(identity, setting, before);
}

export const forwardingIsOurs = (identity: Identity): boolean => isOurs(identity, IPV4);
export const forwarding6IsOurs = (identity: Identity): boolean => isOurs(identity, IPV6);

const isOurs = (identity: Identity, setting: Setting): boolean => {
  try {
    return readlinkSync(recordOf(identity, setting)) === '0';
  } catch {
    return false;
  }
};

/** Whether the host's IP rules see what the bridge carries (br_netfilter). */
export const bridgedRules = (): boolean => readSysctl('net/bridge/bridge-nf-call-iptables') === '1';
