/**
 * Windows over event time: tumbling, sliding, or sessions. A window is told when its key is known to be further by the lateness that
 * is allowed; or, when nothing comes, when as much time has passed. What comes too late for all its windows is refused.
 */
import { createHash } from 'node:crypto';
import { parseMillis } from '@skerry/model';
import type { Item, Refused } from '../message.ts';
import type { Step, StepContext, StepOutcome } from '../ports.ts';
import { Tally, type WindowSpec } from './aggregate.ts';
import { fieldOf } from './expression.ts';

const KEYS_LIMIT = 10_000;
/** Of one key: what is further ahead of it is refused, for it would hold a window open each. */
const WINDOWS_LIMIT = 1000;

interface Open {
  readonly startMs: number;
  endMs: number;
  readonly tally: Tally;
}
interface Keyed {
  /** The latest moment that was seen. */
  markMs: number;
  /** When something came last, by the clock. */
  seenMs: number;
  device: string;
  topic: string;
  readonly project: string;
  open: Open[];
}

export interface WindowOptions {
  /** Of the step on this node: two nodes that make the same window make two messages. */
  readonly tag: string;
}

export function windowStep(spec: WindowSpec, { tag }: WindowOptions): Step {
  const lateMs = spec.lateness === undefined ? 0 : parseMillis(spec.lateness);
  const sessionMs = spec.session === undefined ? undefined : parseMillis(spec.session);
  const everyMs = spec.every === undefined ? 0 : parseMillis(spec.every);
  const slideMs = spec.slide === undefined ? everyMs : parseMillis(spec.slide);
  const idleMs = (sessionMs ?? everyMs) + lateMs;
  const { by = 'device' } = spec;
  let keys = new Map<string, Keyed>();
  let dueMs = Number.POSITIVE_INFINITY;

  const keyOf = (item: Item): string => {
    if (by === 'device') return item.device;
    if (by === 'topic') return item.topic;
    if (by === 'stream') return '';
    return JSON.stringify(fieldOf(item.value, by)) ?? 'null';
  };

  const told = (key: string, at: Keyed, window: Open): Item => {
    const { startMs, endMs, tally } = window;
    const hash = createHash('sha256').update(key).digest('hex').slice(0, 12);
    const named = by === 'stream' ? {} : { [by === 'device' || by === 'topic' ? by : 'key']: key };
    const bounds = { from: new Date(startMs).toISOString(), to: new Date(endMs).toISOString() };
    return {
      ...{
        id: `${tag}.${hash}.${startMs.toString(36)}`,
        project: at.project,
        device: at.device,
        topic: at.topic,
      },
      ...{ atMs: endMs, value: { ...named, ...bounds, ...tally.results(Math.max(1, endMs - startMs)) } },
    };
  };
  /** Those that are over. */
  const close = (key: string, at: Keyed, untilMs: number): Item[] => {
    const over = at.open.filter(({ endMs }) => endMs <= untilMs).sort((a, b) => a.endMs - b.endMs);
    if (over.length > 0) at.open = at.open.filter(({ endMs }) => endMs > untilMs);
    return over.map((window) => told(key, at, window));
  };

  const windowsOf = (at: Keyed, atMs: number): Open[] | undefined => {
    const closedMs = at.markMs - lateMs;
    if (sessionMs !== undefined) return sessionOf(at, atMs, sessionMs, closedMs);
    const found: Open[] = [];
    for (let startMs = Math.floor(atMs / slideMs) * slideMs; startMs > atMs - everyMs; startMs -= slideMs) {
      const endMs = startMs + everyMs;
      if (endMs <= closedMs) break;
      let open = at.open.find((one) => one.startMs === startMs);
      if (!open) {
        if (at.open.length >= WINDOWS_LIMIT) return undefined;
        open = { startMs, endMs, tally: new Tally(spec.aggregates) };
        at.open.push(open);
      }
      found.push(open);
    }
    return found.length > 0 ? found : undefined;
  };
  const sessionOf = (at: Keyed, atMs: number, gapMs: number, closedMs: number): Open[] | undefined => {
    const open = at.open.find(({ startMs, endMs }) => atMs >= startMs - gapMs && atMs < endMs);
    if (open) {
      open.endMs = Math.max(open.endMs, atMs + gapMs);
      return [open];
    }
    if (atMs + gapMs <= closedMs || at.open.length >= WINDOWS_LIMIT) return undefined;
    const fresh = { startMs: atMs, endMs: atMs + gapMs, tally: new Tally(spec.aggregates) };
    at.open.push(fresh);
    return [fresh];
  };

  const take = (item: Item, nowMs: number, refused: Refused[]): Item[] => {
    const key = keyOf(item);
    let at = keys.get(key);
    if (!at) {
      if (keys.size >= KEYS_LIMIT) {
        refused.push({ item, step: 'window', reason: `more than ${KEYS_LIMIT} keys` });
        return [];
      }
      at = {
        markMs: 0,
        seenMs: nowMs,
        device: item.device,
        topic: item.topic,
        project: item.project,
        open: [],
      };
      keys.set(key, at);
    }
    const windows = windowsOf(at, item.atMs);
    if (!windows) {
      refused.push({ item, step: 'window', reason: 'it is too late for its window' });
      return [];
    }
    for (const { tally } of windows) tally.add(item.value, item.atMs);
    at.markMs = Math.max(at.markMs, item.atMs);
    at.seenMs = nowMs;
    at.device = item.device;
    at.topic = item.topic;
    dueMs = Math.min(dueMs, nowMs + idleMs);
    return close(key, at, at.markMs - lateMs);
  };

  const sweep = (nowMs: number): Item[] => {
    const items: Item[] = [];
    dueMs = Number.POSITIVE_INFINITY;
    for (const [key, at] of keys) {
      if (at.seenMs + idleMs > nowMs) {
        dueMs = Math.min(dueMs, at.seenMs + idleMs);
        continue;
      }
      items.push(...close(key, at, Number.POSITIVE_INFINITY));
      keys.delete(key);
    }
    return items;
  };

  return {
    kind: 'window',
    process(items, context: StepContext): StepOutcome {
      const refused: Refused[] = [];
      return { items: items.flatMap((item) => take(item, context.nowMs, refused)), refused };
    },
    tick: ({ nowMs }) => ({ items: sweep(nowMs), refused: [] }),
    dueAtMs: () => (dueMs === Number.POSITIVE_INFINITY ? undefined : dueMs),
    drain: () => ({ items: sweep(Number.POSITIVE_INFINITY), refused: [] }),
    snapshot: () =>
      [...keys].map(([key, { open, ...at }]) => [
        key,
        { ...at, open: open.map(({ startMs, endMs, tally }) => [startMs, endMs, tally.state()]) },
      ]),
    restore(state) {
      type Saved = [string, Omit<Keyed, 'open'> & { open: [number, number, unknown][] }];
      keys = new Map(
        (state as Saved[]).map(([key, { open, ...at }]) => [
          key,
          {
            ...at,
            open: open.map(([startMs, endMs, saved]) => ({
              ...{ startMs, endMs, tally: new Tally(spec.aggregates, saved) },
            })),
          },
        ]),
      );
      dueMs = Math.min(Number.POSITIVE_INFINITY, ...[...keys.values()].map(({ seenMs }) => seenMs + idleMs));
    },
  };
}
