/** The requests about time series. The controller keeps none: it asks the nodes and makes one answer of theirs. */
import type { HubCall, RouteInput, SeriesPoint, SeriesQuery } from '@skerry/contract';
import { asSkerryError, parseMillis, SkerryError } from '@skerry/model';
import type { Core } from '../core.ts';
import type { HandlersOf } from '../http/handlers.ts';
import { merged } from './merge.ts';

/** As a node tells of one. */
interface Summary {
  readonly name: string;
  readonly devices: number;
  readonly fields: readonly string[];
  readonly points: number;
  readonly fromMs: number;
  readonly toMs: number;
  readonly bytes: number;
}

const timeOf = (atMs: number) => new Date(atMs).toISOString();
const told = ({ atMs, ...rest }: SeriesPoint) => ({ ...rest, at: timeOf(atMs) });

export function seriesRoutes(core: Core): HandlersOf<'series'> {
  /** Errors: not_found; unavailable where the one that is named does not answer. */
  const nodesOf = (project: string, node: string | undefined): readonly string[] => {
    if (!core.view.get('projects', project))
      throw new SkerryError('not_found', `there is no project "${project}"`);
    if (node === undefined) return [...core.nodes.keys()].filter((name) => core.nodes.get(name)?.hub).sort();
    if (!core.view.get('nodes', node)) throw new SkerryError('not_found', `there is no node "${node}"`);
    if (!core.nodes.get(node)?.hub)
      throw new SkerryError('unavailable', `the node ${node} is not connected, or takes no devices`);
    return [node];
  };
  /** A node that takes no devices has nothing to say, where it was not asked by its name. */
  async function* ask<T>(
    node: string,
    call: HubCall,
    named: boolean,
    signal: AbortSignal,
  ): AsyncGenerator<T> {
    const link = core.nodes.get(node);
    let begun = false;
    try {
      for await (const value of link?.hub?.(call, signal) ?? []) {
        begun = true;
        yield value as T;
      }
    } catch (error) {
      if (begun || named || asSkerryError(error).code !== 'unavailable') throw error;
    }
  }

  type Range = Omit<RouteInput<'series.points'>, 'ifMatch' | 'ifAbsent'>;
  async function* points(input: Range, signal: AbortSignal): AsyncGenerator<SeriesPoint> {
    const { project, name, from, to, device, field, step, aggregate, limit, node } = input;
    const query: SeriesQuery = {
      ...{ project, series: name },
      ...(from !== undefined && { fromMs: Date.parse(from) }),
      ...(to !== undefined && { toMs: Date.parse(to) }),
      ...(device && { devices: device }),
      ...(field && { fields: field }),
      ...(step !== undefined && { stepMs: stepMsOf(step) }),
    };
    const nodes = nodesOf(project, node);
    const asked = (wanted: SeriesQuery['aggregate']) =>
      nodes.map((one) =>
        ask<SeriesPoint>(
          one,
          {
            verb: 'series-query',
            query: {
              ...query,
              ...(wanted && { aggregate: wanted }),
              ...(limit !== undefined && { limit }),
            },
          },
          node !== undefined,
          signal,
        ),
      );
    yield* merged(asked, {
      stepped: step !== undefined,
      ...(aggregate && { aggregate }),
      ...(limit !== undefined && { limit }),
    });
  }

  return {
    async 'series.list'({ project, node }, { signal }) {
      const found = new Map<string, Summary & { nodes: string[] }>();
      const silent: string[] = [];
      const nodes = nodesOf(project, node);
      const answers = await Promise.all(
        nodes.map(async (one) => {
          const summaries: Summary[] = [];
          try {
            const call = { verb: 'series-list', project } as const;
            for await (const summary of ask<Summary>(one, call, true, signal)) summaries.push(summary);
          } catch (error) {
            if (node !== undefined || asSkerryError(error).code !== 'unavailable') throw error;
            silent.push(one);
          }
          return [one, summaries] as const;
        }),
      );
      for (const [one, summaries] of answers)
        for (const summary of summaries)
          found.set(summary.name, added(found.get(summary.name), summary, one));
      const items = [...found.values()]
        .sort((a, b) => (a.name < b.name ? -1 : 1))
        .map(({ fromMs, toMs, fields, ...rest }) => ({
          ...{ ...rest, fields: [...fields], from: timeOf(fromMs), to: timeOf(toMs) },
        }));
      return { body: { items, silent: silent.sort() } };
    },
    async *'series.points'(input, { signal }) {
      for await (const point of points(input, signal)) yield told(point);
    },
    async *'series.last'({ project, name, node }, { signal }) {
      const newest = new Map<string, SeriesPoint>();
      for (const one of nodesOf(project, node)) {
        const call = { verb: 'series-last', project, series: name } as const;
        for await (const point of ask<SeriesPoint>(one, call, node !== undefined, signal)) {
          const key = JSON.stringify([point.device, point.field]);
          if (!((newest.get(key)?.atMs ?? Number.NEGATIVE_INFINITY) > point.atMs)) newest.set(key, point);
        }
      }
      for (const key of [...newest.keys()].sort()) yield told(newest.get(key)!);
    },
    async *'series.export'({ format = 'csv', ...input }, { signal }) {
      // Only who asks for a file pays for what writes it.
      const { csvOf, parquetOf } = await import('@skerry/devices/formats');
      const pieces = (format === 'csv' ? csvOf : parquetOf)(points(input, signal));
      for await (const piece of pieces) yield { data: Buffer.from(piece).toString('base64') };
    },
  };
}

function stepMsOf(step: string): number {
  const stepMs = parseMillis(step);
  if (stepMs > 0) return stepMs;
  throw new SkerryError('request_invalid', 'the step is no time at all: write it like 1m or 1h');
}

function added(
  before: (Summary & { nodes: string[] }) | undefined,
  one: Summary,
  node: string,
): Summary & { nodes: string[] } {
  if (!before) return { ...one, nodes: [node] };
  return {
    ...{ name: one.name, nodes: [...before.nodes, node], devices: before.devices + one.devices },
    fields: [...new Set([...before.fields, ...one.fields])].sort(),
    points: before.points + one.points,
    fromMs: Math.min(before.fromMs, one.fromMs),
    toMs: Math.max(before.toMs, one.toMs),
    bytes: before.bytes + one.bytes,
  };
}
