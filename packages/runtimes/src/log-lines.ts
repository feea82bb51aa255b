/**
 * Reads what skerry-log writes: `log.1`, then `log`, lines `<ms> <o|e> <text>`. Following waits on the folder and looks
 * again at the latest after half a second, so that no lost notification holds a line back for long.
 */
import { watch } from 'node:fs';
import { type FileHandle, open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { LogLine, LogOptions } from '@skerry/model';

const LOOK_AGAIN_MS = 500;
const PIECE_BYTES = 256 * 1024;

const STREAMS = { o: 'stdout', e: 'stderr', c: 'console' } as const;

export function parseLogLine(line: string): LogLine | undefined {
  const match = /^(\d{1,15}) ([oec]) (.*)$/s.exec(line);
  if (!match) return undefined;
  return { atMs: Number(match[1]), stream: STREAMS[match[2] as keyof typeof STREAMS], text: match[3]! };
}

interface Position {
  readonly inode: number;
  offset: number;
}

/** Lines of a file from an offset on; what has no line end yet is left for the next time. */
async function* linesFrom(file: FileHandle, position: Position): AsyncGenerator<LogLine> {
  const buffer = Buffer.alloc(PIECE_BYTES);
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, PIECE_BYTES, position.offset);
    const end = buffer.lastIndexOf(0x0a, bytesRead - 1);
    if (bytesRead === 0 || end < 0) return;
    position.offset += end + 1;
    for (const line of buffer.toString('utf8', 0, end).split('\n')) {
      const parsed = parseLogLine(line);
      if (parsed) yield parsed;
    }
  }
}

/** Lines of all that is kept, oldest first, and where reading stopped. */
async function kept(folder: string): Promise<{ lines: LogLine[]; position: Position }> {
  for (;;) {
    const before = await inodeOf(join(folder, 'log'));
    const texts = await Promise.all(
      ['log.1', 'log'].map((name) => readFile(join(folder, name)).catch(() => Buffer.alloc(0))),
    );
    if (before !== (await inodeOf(join(folder, 'log')))) continue; // rotated while we read
    const current = texts[1]!;
    const offset = current.lastIndexOf(0x0a) + 1;
    const all = `${texts[0]!.toString('utf8')}${current.toString('utf8', 0, offset)}`;
    const lines = all.split('\n').flatMap((line) => parseLogLine(line) ?? []);
    return { lines, position: { inode: before, offset } };
  }
}

const inodeOf = (path: string) =>
  stat(path).then(
    (about) => about.ino,
    () => 0,
  );

/** Ends by itself without `follow`; with it, when cancelled or once `ended` says that no more can come. */
export async function* logLines(
  folder: string,
  options: LogOptions,
  signal: AbortSignal,
  ended: () => boolean,
): AsyncGenerator<LogLine> {
  const wanted = (line: LogLine) => options.sinceMs === undefined || line.atMs >= options.sinceMs;
  const { lines, position: first } = await kept(folder);
  const chosen = lines.filter(wanted);
  yield* options.tail === undefined ? chosen : chosen.slice(Math.max(0, chosen.length - options.tail));
  if (!options.follow) return;
  let position = first;
  const path = join(folder, 'log');
  while (!signal.aborted) {
    const last = ended(); // asked before reading: what is read then is all there is
    const file = await open(path).catch(() => undefined);
    if (file) {
      try {
        const { ino } = await file.stat();
        if (ino !== position.inode) {
          if (position.inode !== 0) yield* rest(join(folder, 'log.1'), position);
          position = { inode: ino, offset: 0 };
        }
        for await (const line of linesFrom(file, position)) if (wanted(line)) yield line;
      } finally {
        await file.close();
      }
    }
    if (last) return;
    await change(folder, signal);
  }
}

/** What was still unread in the file that has been moved aside since; nothing where it was overwritten meanwhile. */
async function* rest(path: string, position: Position): AsyncGenerator<LogLine> {
  const file = await open(path).catch(() => undefined);
  if (!file) return;
  try {
    if ((await file.stat()).ino === position.inode) yield* linesFrom(file, position);
  } finally {
    await file.close();
  }
}

function change(folder: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    let watcher: ReturnType<typeof watch> | undefined;
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      watcher?.close();
      resolve();
    };
    const timer = setTimeout(done, LOOK_AGAIN_MS);
    signal.addEventListener('abort', done, { once: true });
    try {
      watcher = watch(folder, done);
      watcher.on('error', done);
    } catch {
      // the folder is gone: the timer ends the wait
    }
  });
}
