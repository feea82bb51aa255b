/** The requests about events. */
import type { Event } from '@skerry/model';
import type { Core } from '../core.ts';
import type { HandlersOf, StreamEvent } from '../http/handlers.ts';

interface Filter {
  readonly project?: string;
  readonly kind?: string;
  readonly name?: string;
}

const fits = ({ about }: Event, { project, kind, name }: Filter) =>
  (project === undefined || about.project === project) &&
  (kind === undefined || about.kind.toLowerCase() === kind.toLowerCase()) &&
  (name === undefined ||
    about.name === name ||
    (about.kind === 'Instance' && about.name.replace(/-\d+$/, '') === name));

export function eventRoutes({ events }: Core): HandlersOf<'event'> {
  async function* stream(
    since: number | undefined,
    filter: Filter,
    signal: AbortSignal,
  ): AsyncGenerator<StreamEvent> {
    const source = events.listen(since, signal);
    // Where nothing was asked of the past: from here a listener resumes.
    if (since === undefined) yield { event: 'synced', id: events.last, data: '{}' };
    for await (const event of source) {
      if (fits(event, filter)) yield { event: 'put', id: event.sequence, data: JSON.stringify(event) };
    }
  }
  return {
    async 'event.list'({ since, limit = 500, watch, ...filter }, { signal, lastEventId }) {
      if (watch) {
        const from = since ?? (lastEventId === undefined ? undefined : Number(lastEventId));
        return { events: stream(from, filter, signal) };
      }
      const all = events.read(since, Number.MAX_SAFE_INTEGER).filter((event) => fits(event, filter));
      const items = since ? all.slice(0, limit) : all.slice(-limit);
      return {
        body: { items, sequence: items.at(-1)?.sequence ?? since ?? events.last, oldest: events.oldest },
      };
    },
  };
}
