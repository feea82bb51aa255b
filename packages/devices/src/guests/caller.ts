/**
 * How a stream's `guest` step reaches its guests: by HTTP at their own addresses, over connections that stay. The one with the
 * fewest messages under way gets the next ones, of several this node's first. One that fails is passed over for a moment, and
 * the messages go to another; where none answers the flow keeps them and asks again.
 *
 *     POST <path>   { id, device, topic, time, value }      ->  JSON: replaces the value   204, or nothing: it goes no further
 *     POST <path>   [ { id, ... }, ... ]  (batch above 1)   ->  JSON: a list, one answer for each; null: it goes no further
 */
import { Pool } from 'undici';
import type { Item } from '../message.ts';
import type { GuestEndpoints } from '../ports.ts';
import type { AskGuest, GuestSpec } from '../steps/guest-step.ts';

const ANSWER_LIMIT_BYTES = 4 * 2 ** 20;
const CONNECTIONS = 64;
/** How long one that failed is passed over, where there are others. */
const AVOID_MS = 1000;
const SAMPLES = 512;

type Endpoint = ReturnType<GuestEndpoints['of']>[number];
interface Known {
  readonly pool: Pool;
  underWay: number;
  avoidUntilMs: number;
}

export interface GuestFigures {
  readonly asked: number;
  readonly failed: number;
  readonly underWay: number;
  /** Of the last answers, in milliseconds. */
  readonly medianMs?: number;
  readonly p99Ms?: number;
}

export interface GuestCaller {
  ask(project: string, spec: GuestSpec): AskGuest;
  figures(): GuestFigures;
  close(): Promise<void>;
}

const told = ({ id, device, topic, atMs, value }: Item) => ({
  ...{ id, device, topic, time: new Date(atMs).toISOString() },
  value: value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value,
});

async function bodyOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of body) {
    bytes += piece.length;
    if (bytes > ANSWER_LIMIT_BYTES) throw new Error(`its answer has over ${ANSWER_LIMIT_BYTES} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}

function parsed(text: string): unknown {
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new Error('its answer is no JSON');
  }
}

/** `endpoints`: asked each time, so an instance that comes or goes is known at once. */
export function createGuestCaller(endpoints: GuestEndpoints, now: () => number = Date.now): GuestCaller {
  const known = new Map<string, Known>();
  const times: number[] = [];
  let [asked, failed] = [0, 0];

  const knownOf = ({ address, port }: Endpoint): Known => {
    const host = address.includes(':') ? `[${address}]` : address;
    const origin = `http://${host}:${port}`;
    let found = known.get(origin);
    if (!found) {
      const pool = new Pool(origin, { connections: CONNECTIONS, pipelining: 1, connectTimeout: 2000 });
      found = { pool, underWay: 0, avoidUntilMs: 0 };
      known.set(origin, found);
    }
    return found;
  };

  /** The free one first; equals in the order in which they are told. */
  const choose = (
    project: string,
    { workload, port }: GuestSpec,
    tried: ReadonlySet<Known>,
  ): Known | undefined => {
    const all = endpoints.of(project, workload, port).map(knownOf);
    const left = all.filter((one) => !tried.has(one));
    const well = left.filter(({ avoidUntilMs }) => avoidUntilMs <= now());
    return (well.length > 0 ? well : left).reduce<Known | undefined>(
      (best, one) => (!best || one.underWay < best.underWay ? one : best),
      undefined,
    );
  };

  const post = async (to: Known, path: string, body: string, signal: AbortSignal): Promise<unknown> => {
    const begunMs = performance.now();
    to.underWay++;
    asked++;
    try {
      const { statusCode, body: answer } = await to.pool.request({
        ...{ method: 'POST', path, body, signal, headers: { 'content-type': 'application/json' } },
        ...{ headersTimeout: 0, bodyTimeout: 0 },
      });
      const text = await bodyOf(answer);
      if (statusCode >= 300) throw new Error(`it answered ${statusCode}: ${text.slice(0, 200)}`);
      times.push(performance.now() - begunMs);
      if (times.length > SAMPLES) times.shift();
      return statusCode === 204 ? undefined : parsed(text);
    } catch (error) {
      failed++;
      to.avoidUntilMs = now() + AVOID_MS;
      throw error;
    } finally {
      to.underWay--;
    }
  };

  const askOne = async (
    project: string,
    spec: GuestSpec,
    body: string,
    signal: AbortSignal,
  ): Promise<unknown> => {
    const tried = new Set<Known>();
    let last: unknown = new Error(`no instance of ${spec.workload} is healthy and has that port`);
    for (let to = choose(project, spec, tried); to; to = choose(project, spec, tried)) {
      tried.add(to);
      try {
        return await post(to, spec.path ?? '/', body, signal);
      } catch (error) {
        if (signal.aborted) throw error;
        last = error;
      }
    }
    throw last;
  };

  return {
    ask: (project, spec) => async (items, signal) => {
      const single = (spec.batch ?? 1) === 1;
      const answer = await askOne(
        project,
        spec,
        JSON.stringify(single ? told(items[0]!) : items.map(told)),
        signal,
      );
      if (single) return [answer ?? undefined];
      if (!Array.isArray(answer) || answer.length !== items.length)
        throw new Error(
          `${spec.workload} answered no list of ${items.length} for a batch of ${items.length}`,
        );
      return answer.map((one: unknown) => one ?? undefined);
    },
    figures() {
      const sorted = [...times].sort((a, b) => a - b);
      const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
      const underWay = [...known.values()].reduce((sum, one) => sum + one.underWay, 0);
      const [medianMs, p99Ms] = [at(0.5), at(0.99)];
      return {
        ...{ asked, failed, underWay },
        ...(medianMs !== undefined && { medianMs }),
        ...(p99Ms !== undefined && { p99Ms }),
      };
    },
    async close() {
      await Promise.all([...known.values()].map(({ pool }) => pool.destroy()));
    },
  };
}
