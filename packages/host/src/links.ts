/** Network interfaces of the host as /sys/class/net shows them: reads only, and starts no program. */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';

const FOLDER = '/sys/class/net';

const readAttribute = (name: string, attribute: string): string | undefined => {
  try {
    return readFileSync(`${FOLDER}/${name}/${attribute}`, 'utf8').trim();
  } catch {
    return undefined;
  }
};

export interface LinkState {
  readonly name: string;
  /** What `ip link set … alias` wrote; empty where nothing did. */
  readonly alias: string;
  /** The bridge that it is a port of. */
  readonly bridge?: string;
  readonly isBridge: boolean;
  readonly up: boolean;
  readonly mac: string;
  readonly mtu: number;
}

const IFF_UP = 0x1; // linux/if.h

export function linkState(name: string): LinkState | undefined {
  const flags = readAttribute(name, 'flags');
  if (flags === undefined) return undefined;
  let bridge: string | undefined;
  try {
    bridge = basename(readlinkSync(`${FOLDER}/${name}/master`));
  } catch {
    // no port of a bridge
  }
  return {
    name,
    alias: readAttribute(name, 'ifalias') ?? '',
    ...(bridge === undefined ? {} : { bridge }),
    isBridge: existsSync(`${FOLDER}/${name}/bridge`),
    up: (Number.parseInt(flags, 16) & IFF_UP) !== 0,
    mac: readAttribute(name, 'address') ?? '',
    mtu: Number(readAttribute(name, 'mtu') ?? 0),
  };
}

export function listLinks(prefix: string): LinkState[] {
  return readdirSync(FOLDER)
    .filter((name) => name.startsWith(prefix))
    .flatMap((name) => linkState(name) ?? []);
}

/** Bytes that the host received from and sent to the interface since it was made. */
export function linkBytes(name: string): { rxBytes: number; txBytes: number } | undefined {
  const rx = readAttribute(name, 'statistics/rx_bytes');
  const tx = readAttribute(name, 'statistics/tx_bytes');
  return rx === undefined || tx === undefined ? undefined : { rxBytes: Number(rx), txBytes: Number(tx) };
}
