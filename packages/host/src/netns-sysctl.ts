/** Kernel settings of another network namespace: those below /proc/sys/net belong to the namespace of whoever writes them. */
import { run } from './run.ts';

/** `settings` by their dotted names: `net.ipv4.ip_unprivileged_port_start`. Errors: host_missing, host_command_failed. */
export async function setNetnsSysctls(
  netnsPath: string,
  settings: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<void> {
  const pairs = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
  await run('nsenter', [`--net=${netnsPath}`, 'sysctl', '-q', '-w', ...pairs], { signal, timeoutMs: 10_000 });
}
