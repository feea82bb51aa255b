/** The end of what a container wrote, out of the engine, which forgets it with the container: lines as log-lines.ts reads them. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LogLine } from '@skerry/model';

/** What an engine holds is more than anybody reads of a run that is over; so much is held in memory here while it is copied. */
export const KEPT_BYTES = 1024 * 1024;
/** Fewer than there are in that of the shortest lines that programs write. */
export const KEPT_LINES = 10_000;

const MARKS = { stdout: 'o', stderr: 'e', console: 'c' } as const;

/** Writes `<folder>/log`. */
export async function keepDockerLog(lines: AsyncIterable<LogLine>, folder: string): Promise<void> {
  const kept: string[] = [];
  let bytes = 0;
  for await (const { atMs, stream, text } of lines) {
    const line = `${atMs} ${MARKS[stream]} ${text}\n`;
    kept.push(line);
    bytes += Buffer.byteLength(line);
    while (bytes > KEPT_BYTES) bytes -= Buffer.byteLength(kept.shift()!);
  }
  await writeFile(join(folder, 'log'), kept.join(''), { mode: 0o600 });
}
