/**
 * Round trips that the kernel has measured by itself on connections that were made anyway: on those that stand (tcp(7), TCP_INFO,
 * as ss(8) shows it) and on those that ended a moment ago (ip-tcp_metrics(8)). Nothing is sent for them. Inside network
 * namespaces, which are those of guests that share our kernel.
 */
import { listNetns } from './netns.ts';
import { run } from './run.ts';

const LIMIT_MS = 5000;
/** A look costs two programs for each namespace. */
const MOST_NAMESPACES = 64;
/** What was measured longer ago says little of now. */
export const FRESH_MS = 10_000;

/** Microseconds by the address of the other side: of several connections, the least, for others may stand in a queue. */
export type TcpRoundTrips = ReadonlyMap<string, number>;

/** Adds what `ss -tinHO` prints. Numbers of milliseconds that are 0 are not printed. */
export function parseTcpRoundTrips(text: string, found: Map<string, number>): void {
  for (const line of text.split('\n')) {
    const peer = /^\s*\d+\s+\d+\s+\S+\s+(\S+):\d+\s/.exec(line)?.[1];
    const us = Number(/\srtt:([\d.]+)\//.exec(line)?.[1]) * 1000;
    const ackedMs = Number(/\slastack:(\d+)/.exec(line)?.[1] ?? 0);
    if (peer === undefined || !Number.isFinite(us) || us <= 0 || ackedMs > FRESH_MS) continue;
    const address = peer.replace(/^\[(?:::ffff:(?=[\d.]+\]))?|\]$|%.*$/g, '');
    found.set(address, Math.min(Math.round(us), found.get(address) ?? Number.POSITIVE_INFINITY));
  }
}

/** Adds what `ip tcp_metrics show` prints. */
export function parseTcpMetrics(text: string, found: Map<string, number>): void {
  for (const line of text.split('\n')) {
    const [, address, age, us] = /^(\S+) age ([\d.]+)sec .*?\brtt (\d+)us\b/.exec(line) ?? [];
    if (address === undefined || Number(age) * 1000 > FRESH_MS) continue;
    found.set(address, Math.min(Number(us), found.get(address) ?? Number.POSITIVE_INFINITY));
  }
}

/** Of connections inside the namespaces whose names begin so. One that goes meanwhile tells nothing. Errors: host_missing. */
export async function tcpRoundTrips(netnsPrefix: string, signal: AbortSignal): Promise<TcpRoundTrips> {
  const options = { signal, timeoutMs: LIMIT_MS, okCodes: [0, 1, 255] };
  const standing = new Map<string, number>();
  const ended = new Map<string, number>();
  for (const name of listNetns(netnsPrefix).slice(0, MOST_NAMESPACES)) {
    const stands = await run('ss', ['-N', name, '-tinHO', 'state', 'established'], options);
    parseTcpRoundTrips(stands.stdout, standing);
    const stood = await run('ip', ['-n', name, 'tcp_metrics', 'show'], options);
    parseTcpMetrics(stood.stdout, ended);
  }
  return new Map([...ended, ...standing]);
}
