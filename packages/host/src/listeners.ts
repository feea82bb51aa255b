/**
 * Who listens on a port of the host: /proc/net/{tcp,tcp6,udp,udp6} (proc(5)) for the socket, /proc/PID/fd for its owner.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export interface Listener {
  readonly address: string;
  /** Absent where the owner is in another process namespace or has ended. */
  readonly pid?: number;
  readonly program?: string;
}

const STATES = { tcp: '0A', udp: '07' } as const; // TCP_LISTEN; an unconnected UDP socket (include/net/tcp_states.h)

function ipv4Of(hex: string): string {
  const bytes = hex.match(/../g) ?? [];
  return bytes
    .reverse() // the kernel prints the word in host order: little endian on every machine that we run on
    .map((byte) => Number.parseInt(byte, 16))
    .join('.');
}

/** The inode and address of a socket that is bound to the port, from one table's text. */
export function findSocket(table: string, protocol: 'tcp' | 'udp', port: number) {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  for (const line of table.split('\n').slice(1)) {
    const fields = line.trim().split(/\s+/);
    const [address = '', localPort] = (fields[1] ?? '').split(':');
    if (localPort !== wanted || fields[3] !== STATES[protocol]) continue;
    return { inode: fields[9] ?? '0', address: address.length === 8 ? ipv4Of(address) : '[::]' };
  }
  return undefined;
}

function ownerOf(inode: string): { pid: number; program: string } | undefined {
  const target = `socket:[${inode}]`;
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const folder = `/proc/${name}/fd`;
      if (readdirSync(folder).some((fd) => linkOf(`${folder}/${fd}`) === target)) {
        return { pid: Number(name), program: readFileSync(`/proc/${name}/comm`, 'utf8').trim() };
      }
    } catch {
      // it ended while we looked, or it is not ours to look at
    }
  }
  return undefined;
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** What holds the port on any address of the host's network namespace; undefined where it is free. */
export function findListener(protocol: 'tcp' | 'udp', port: number): Listener | undefined {
  for (const suffix of ['', '6']) {
    let table: string;
    try {
      table = readFileSync(`/proc/net/${protocol}${suffix}`, 'utf8');
    } catch {
      continue; // a kernel without IPv6
    }
    const socket = findSocket(table, protocol, port);
    if (socket) return { address: socket.address, ...ownerOf(socket.inode) };
  }
  return undefined;
}
