/** Forwarding entries of bridges and VXLAN devices (bridge(8)). */

import { type LineFailure, runBatch } from './ip.ts';
import { run } from './run.ts';

/** Lines of bridge(8) without the word `bridge`. Returns what failed; the others were carried out. */
export const bridgeBatch = (lines: readonly string[], signal: AbortSignal): Promise<LineFailure[]> =>
  runBatch('bridge', [], lines, signal);

/** `bridge -j …`, parsed; the caller names the shape. Errors: host_missing, host_command_failed. */
export async function bridgeJson<Row>(args: readonly string[], signal: AbortSignal): Promise<Row[]> {
  const { stdout } = await run('bridge', ['-j', ...args], { signal, timeoutMs: 20_000 });
  return stdout.trim() === '' ? [] : (JSON.parse(stdout) as Row[]);
}
