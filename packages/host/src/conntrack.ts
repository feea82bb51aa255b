/** The kernel's table of connections (conntrack(8)): which were led elsewhere by destination NAT, and ending them. */
import { run } from './run.ts';

const LIMIT_MS = 20_000;

/** A connection to `to` that was led to `ledTo`. */
export interface LedConnection {
  readonly to: string;
  readonly ledTo: string;
}

/** From the words of `conntrack -L`: `… src=A dst=B … src=C dst=D …`, first as it was sent, then as it is answered. */
export function parseLed(text: string): LedConnection[] {
  const found = new Map<string, LedConnection>();
  for (const line of text.split('\n')) {
    const [, to, ledTo] = /\bdst=(\S+).*?\bsrc=(\S+)/.exec(line) ?? [];
    if (to !== undefined && ledTo !== undefined) found.set(`${to} ${ledTo}`, { to, ledTo });
  }
  return [...found.values()];
}

/** Each pair once, however many connections it has. Errors: host_missing, host_command_failed. */
export async function listLed(signal: AbortSignal): Promise<LedConnection[]> {
  const options = { signal, timeoutMs: LIMIT_MS, maxOutputBytes: 256 * 1024 * 1024 };
  const all = await Promise.all(
    ['ipv4', 'ipv6'].map((family) => run('conntrack', ['-L', '-f', family, '--dst-nat'], options)),
  );
  return all.flatMap(({ stdout }) => parseLed(stdout));
}

/** Forgets all connections of the pair; none is no error. Errors: host_missing, host_command_failed. */
export async function endLed({ to, ledTo }: LedConnection, signal: AbortSignal): Promise<void> {
  const family = to.includes(':') ? 'ipv6' : 'ipv4';
  const args = ['-D', '-f', family, '--orig-dst', to, '--reply-src', ledTo];
  await run('conntrack', args, {
    signal,
    timeoutMs: LIMIT_MS,
    okCodes: [0, 1],
    maxOutputBytes: 64 * 1024 * 1024,
  });
}
