/** A stream as it runs, at all nodes at once: what each node's device program tells of it, as it comes. */
import type { NodeLink, TailLine } from '@skerry/contract';
import { SkerryError } from '@skerry/model';
import type { Core } from '../core.ts';
import { missingStream } from './streams.ts';

/** Who reads so slowly that more wait gets no more of them: a tail is a look, not a record. */
const MOST_WAITING = 1000;

export type NodeLine = TailLine & { readonly node: string };

/** Errors: not_found, unavailable where no node can be asked. Ends with the signal, or when every node has ended it. */
export async function* tailStream(
  core: Core,
  project: string,
  stream: string,
  signal: AbortSignal,
): AsyncGenerator<NodeLine> {
  if (!core.view.get('streams', project, stream)) throw missingStream(project, stream);
  const asked = [...core.nodes].filter(([, link]) => link.hub !== undefined);
  if (asked.length === 0)
    throw new SkerryError(
      'unavailable',
      'no node with a device program is connected: nothing runs the stream',
    );
  const lines: NodeLine[] = [];
  const failures: unknown[] = [];
  let open = asked.length;
  let wake = (): void => undefined;
  const gone = new AbortController();
  const limit = AbortSignal.any([signal, gone.signal]);
  limit.addEventListener('abort', () => wake(), { once: true });
  const follow = async (node: string, link: NodeLink) => {
    try {
      const call = { verb: 'stream-tail', project, stream } as const;
      for await (const line of link.hub!(call, limit)) {
        if (lines.length < MOST_WAITING) lines.push({ ...(line as TailLine), node });
        wake();
      }
    } catch (error) {
      if (!limit.aborted) failures.push(error);
    } finally {
      open--;
      wake();
    }
  };
  for (const [node, link] of asked) void follow(node, link);
  try {
    while (!signal.aborted) {
      const line = lines.shift();
      if (line) yield line;
      else if (open > 0)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      else break;
    }
    // one of several that can not is no reason to hide the others
    if (failures.length === asked.length && !signal.aborted) throw failures[0];
  } finally {
    gone.abort();
  }
}
