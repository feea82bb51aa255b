/** What a container wrote, as the engine keeps it (json-file, bounded): frames with a time stamp before each line. */
import type { LogLine, LogOptions } from '@skerry/model';
import { type EngineApi, isNotThere } from './engine-api.ts';
import { framesOf } from './frames.ts';

/** The engine cuts lines into pieces of 16 KiB; more of one line than this is not held. */
const LINE_BYTES = 64 * 1024;

interface Held {
  readonly atMs: number;
  readonly text: string;
}

/** Ends by itself without `follow`; with it, when cancelled or with the container. */
export async function* dockerLogs(
  api: EngineApi,
  path: string,
  { tail, follow = false, sinceMs }: LogOptions,
  signal: AbortSignal,
): AsyncGenerator<LogLine> {
  const held: { stdout?: Held | undefined; stderr?: Held | undefined } = {};
  try {
    const query = {
      ...{ stdout: true, stderr: true, timestamps: true, follow },
      ...(tail === undefined ? {} : { tail }),
      ...(sinceMs === undefined ? {} : { since: (sinceMs / 1000).toFixed(3) }),
    };
    const bytes = await api.open('GET', `${path}/logs`, { signal, query });
    for await (const { stream, data } of framesOf(bytes)) {
      const piece = data.toString('utf8');
      const cut = piece.indexOf(' ');
      const atMs = held[stream]?.atMs ?? Date.parse(piece.slice(0, cut));
      const text = `${held[stream]?.text ?? ''}${piece.slice(cut + 1)}`;
      if (!text.endsWith('\n') && text.length < LINE_BYTES) {
        held[stream] = { atMs, text };
        continue;
      }
      held[stream] = undefined;
      if (sinceMs === undefined || atMs >= sinceMs) yield { atMs, stream, text: text.replace(/\n$/, '') };
    }
  } catch (error) {
    if (isNotThere(error) || signal.aborted) return;
    throw error;
  }
  for (const stream of ['stdout', 'stderr'] as const) {
    const rest = held[stream];
    if (rest && (sinceMs === undefined || rest.atMs >= sinceMs)) yield { ...rest, stream };
  }
}
