/**
 * The kernel settings that the node network needs, and giving back the one that is not ours alone: ip_forward. What it
 * was before the first data folder turned it on is written in /run/skerry/ip_forward; the last one to go restores it.
 */
import { mkdirSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Identity, listLinks, readSysctl, writeSysctl } from '@skerry/host';

const FORWARD = 'net/ipv4/ip_forward';
const recordOf = (identity: Identity): string => join(dirname(identity.runDir), 'ip_forward');

/** Errors: host_missing where a setting can not be written. */
export function enableForwarding(identity: Identity): void {
  // packets to 127.0.0.1 that lead to a guest come back as packets for 127.0.0.1 (ip-sysctl: route_localnet)
  writeSysctl(`net/ipv4/conf/${identity.bridge}/route_localnet`, '1');
  const before = readSysctl(FORWARD);
  if (before !== '1') turnOn(identity, before ?? '0');
}

function turnOn(identity: Identity, before: string): void {
  mkdirSync(dirname(identity.runDir), { recursive: true, mode: 0o755 });
  try {
    symlinkSync(before, recordOf(identity));
  } catch {
    // another data folder wrote it first, and somebody turned it off since
  }
  writeSysctl(FORWARD, '1');
}

/** Bridges of other data folders on this host. */
export const otherBridges = (identity: Identity): string[] =>
  listLinks('sk')
    .map((link) => link.name)
    .filter((name) => /^sk[0-9a-f]{8}br$/.test(name) && name !== identity.bridge);

export function restoreForwarding(identity: Identity): void {
  if (otherBridges(identity).length > 0) return;
  let before: string;
  try {
    before = readlinkSync(recordOf(identity));
  } catch {
    return; // it was on before we came
  }
  rmSync(recordOf(identity), { force: true });
  writeSysctl(FORWARD, before);
  // one that came at this very moment made its bridge before it looked at the setting
  if (before !== '1' && otherBridges(identity).length > 0) turnOn(identity, before);
}

export const forwardingIsOurs = (identity: Identity): boolean => {
  try {
    return readlinkSync(recordOf(identity)) === '0';
  } catch {
    return false;
  }
};

/** Whether the host's IP rules see what the bridge carries (br_netfilter). */
export const bridgedRules = (): boolean => readSysctl('net/bridge/bridge-nf-call-iptables') === '1';
