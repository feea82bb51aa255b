/**
 * What a container wrote, as the engine keeps it (json-file, bounded): frames with a time stamp before each line. The engine
 * cuts lines of more than 16 KiB into pieces, each with a stamp: each is a line here, as on containerd.
 */
import type { LogLine, LogOptions } from '@skerry/model';
import { type EngineApi, isNotThere } from './engine-api.ts';
import { type Frame, framesOf } from './frames.ts';

/** Ends by itself without `follow`; with it, when cancelled or with the container. */
export async function* dockerLogs(
  api: EngineApi,
  path: string,
  { tail, follow = false, sinceMs }: LogOptions,
  signal: AbortSignal,
): AsyncGenerator<LogLine> {
  try {
    const query = {
      ...{ stdout: true, stderr: true, timestamps: true, follow },
      ...(tail === undefined ? {} : { tail }),
      ...(sinceMs === undefined ? {} : { since: (sinceMs / 1000).toFixed(3) }),
    };
    const bytes = await api.open('GET', `${path}/logs`, { signal, query });
    for await (const frame of framesOf(bytes)) {
      const line = lineOf(frame);
      if (sinceMs === undefined || line.latestMs >= sinceMs) yield line.line;
    }
  } catch (error) {
    if (isNotThere(error) || signal.aborted) return;
    throw error;
  }
}

/** `2026-11-23T10:00:00.123456789Z text`; Podman's stamps have no fraction, so that the line may be up to a second later. */
function lineOf({ stream, data }: Frame): { line: LogLine; latestMs: number } {
  const text = data.toString('utf8').replace(/\n$/, '');
  const cut = text.indexOf(' ');
  const stamp = text.slice(0, cut);
  const atMs = Date.parse(stamp);
  return {
    line: { atMs, stream, text: text.slice(cut + 1) },
    latestMs: atMs + (stamp.includes('.') ? 0 : 999),
  };
}
