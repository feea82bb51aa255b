/** A guest works on messages: batches go out, several at a time, and what it answers goes on in the order of the messages. */
import { parseMillis, type StreamStep } from '@skerry/model';
import type { Item } from '../message.ts';
import type { Step } from '../ports.ts';

export type GuestSpec = Extract<StreamStep, { guest: unknown }>['guest'];
/**
 * Answers of a guest, one for each message: a value that replaces it, an array for several, undefined: it goes no further. Rejects
 * when no guest answered: the messages are given again.
 */
export type AskGuest = (
  items: readonly Item[],
  signal: AbortSignal,
) => Promise<readonly (unknown | undefined)[]>;
const DEFAULTS = { batch: 1, inFlight: 16, timeoutMs: 5000 } as const;

export function guestStep(spec: GuestSpec, ask: AskGuest): Step {
  const batch = spec.batch ?? DEFAULTS.batch;
  const inFlight = spec.inFlight ?? DEFAULTS.inFlight;
  const timeoutMs = spec.timeout === undefined ? DEFAULTS.timeoutMs : parseMillis(spec.timeout);

  const answersFor = async (items: readonly Item[], outer: AbortSignal): Promise<Item[]> => {
    const ending = new AbortController();
    const end = () => ending.abort(outer.reason);
    const timer = setTimeout(() => ending.abort(new Error(`no answer in ${timeoutMs} ms`)), timeoutMs);
    outer.addEventListener('abort', end);
    try {
      outer.throwIfAborted();
      const ended = new Promise<never>((_, reject) => {
        ending.signal.addEventListener('abort', () => reject(ending.signal.reason as Error));
      });
      const answers = await Promise.race([ask(items, ending.signal), ended]);
      return items.flatMap((item, at) => {
        const answer = answers[at];
        if (answer === undefined) return [];
        if (!Array.isArray(answer)) return [{ ...item, value: answer }];
        return answer.map((value, part) => ({ ...item, id: `${item.id}.${part}`, value: value as unknown }));
      });
    } catch (error) {
      throw ending.signal.aborted && !outer.aborted ? (ending.signal.reason as Error) : error;
    } finally {
      clearTimeout(timer);
      outer.removeEventListener('abort', end);
    }
  };

  return {
    kind: 'guest',
    async process(items, { signal }) {
      const batches = Array.from({ length: Math.ceil(items.length / batch) }, (_, at) =>
        items.slice(at * batch, (at + 1) * batch),
      );
      const results: Item[][] = [];
      let next = 0;
      const work = async () => {
        for (let at = next++; at < batches.length; at = next++)
          results[at] = await answersFor(batches[at]!, signal);
      };
      await Promise.all(Array.from({ length: Math.min(inFlight, batches.length) }, work));
      return { items: results.flat(), refused: [] };
    },
  };
}
