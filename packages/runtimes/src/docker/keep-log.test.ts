// What is kept of an engine's log is bounded.
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LogLine } from '@skerry/model';
import { expect, test } from 'vitest';
import { logLines } from '../log-lines.ts';
import { KEPT_BYTES, keepDockerLog } from './keep-log.ts';

async function* lines(count: number): AsyncGenerator<LogLine> {
  for (let at = 0; at < count; at++)
    yield { atMs: at, stream: at % 2 ? 'stderr' : 'stdout', text: `${at} ${'ü'.repeat(1000)}` };
}

test('the last lines are kept, within a MiB, with time and stream', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-keep-'));
  try {
    await keepDockerLog(lines(2000), folder);
    expect(statSync(join(folder, 'log')).size).toBeLessThanOrEqual(KEPT_BYTES);
    expect(statSync(join(folder, 'log')).size).toBeGreaterThan(KEPT_BYTES - 4096);
    const last: LogLine[] = [];
    const signal = AbortSignal.timeout(10_000);
    for await (const line of logLines(folder, { tail: 1 }, signal, () => true)) last.push(line);
    expect(last).toEqual([{ atMs: 1999, stream: 'stderr', text: `1999 ${'ü'.repeat(1000)}` }]);
    await keepDockerLog(lines(0), folder);
    expect(readFileSync(join(folder, 'log'), 'utf8')).toBe('');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
