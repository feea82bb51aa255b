/**
 * Sparkplug B payloads (Eclipse Sparkplug 3.0): protocol buffers with metrics, named at a birth and by an alias from then on. One
 * message for each metric comes out: `{ metric, value, group, node, device?, type }`.
 */
import protobuf from 'protobufjs';
import type { Item, Refused } from '../message.ts';
import type { Step } from '../ports.ts';

const { Payload } = (() => {
  const field = (rule: string, type: string, id: number) => ({ rule, type, id });
  const root = protobuf.Root.fromJSON({
    nested: {
      Metric: {
        fields: {
          name: field('optional', 'string', 1),
          alias: field('optional', 'uint64', 2),
          timestamp: field('optional', 'uint64', 3),
          datatype: field('optional', 'uint32', 4),
          isNull: field('optional', 'bool', 7),
          intValue: field('optional', 'uint32', 10),
          longValue: field('optional', 'uint64', 11),
          floatValue: field('optional', 'float', 12),
          doubleValue: field('optional', 'double', 13),
          booleanValue: field('optional', 'bool', 14),
          stringValue: field('optional', 'string', 15),
          bytesValue: field('optional', 'bytes', 16),
        },
      },
      Payload: {
        fields: {
          timestamp: field('optional', 'uint64', 1),
          metrics: field('repeated', 'Metric', 2),
          seq: field('optional', 'uint64', 3),
        },
      },
    },
  } as protobuf.INamespace);
  return { Payload: root.lookupType('Payload') };
})();

interface Metric {
  readonly name?: string;
  readonly alias?: string;
  readonly timestamp?: string;
  readonly datatype?: number;
  readonly isNull?: boolean;
  readonly [value: string]: unknown;
}
const TOPIC = /^spBv1\.0\/([^/]+)\/([ND](?:BIRTH|DATA|DEATH|CMD))\/([^/]+)(?:\/([^/]+))?$/;
const ALIASES_LIMIT = 100_000;
/** Whole numbers of so many bits come as if they had no sign (chapter 6.4.16). */
const SIGNED: Readonly<Record<number, number>> = { 1: 8, 2: 16, 3: 32 };

function metricValue(metric: Metric): unknown {
  if (metric.isNull === true) return null;
  if (typeof metric.intValue === 'number') {
    const bits = SIGNED[metric.datatype ?? 0];
    return bits === undefined ? metric.intValue : Number(BigInt.asIntN(bits, BigInt(metric.intValue)));
  }
  if (metric.longValue !== undefined) {
    const value = BigInt(metric.longValue as string);
    const whole = metric.datatype === 4 ? BigInt.asIntN(64, value) : value;
    const number = Number(whole);
    return Number.isSafeInteger(number) ? number : whole.toString();
  }
  return (
    metric.floatValue ?? metric.doubleValue ?? metric.booleanValue ?? metric.stringValue ?? metric.bytesValue
  );
}

export function sparkplugStep(): Step {
  /** Names by alias, of each edge node or device. */
  let births = new Map<string, Map<string, string>>();
  let aliases = 0;

  const metricsOf = (item: Item): Item[] => {
    const match = TOPIC.exec(item.topic);
    if (!match) throw new Error('it is no topic of Sparkplug B: spBv1.0/group/type/node');
    const [, group, type, node, device] = match;
    if (!(item.value instanceof Uint8Array)) throw new Error('the stream must say `format: bytes`');
    const payload = Payload.toObject(Payload.decode(item.value), { longs: String, bytes: String }) as {
      timestamp?: string;
      metrics?: Metric[];
    };
    const from = `${group}/${node}/${device ?? ''}`;
    if (type!.endsWith('BIRTH')) {
      aliases -= births.get(from)?.size ?? 0;
      const named = (payload.metrics ?? []).filter(
        ({ name, alias }) => name !== undefined && alias !== undefined,
      );
      if (aliases + named.length > ALIASES_LIMIT) throw new Error(`more than ${ALIASES_LIMIT} aliases`);
      births.set(from, new Map(named.map(({ name, alias }) => [alias!, name!])));
      aliases += named.length;
    }
    return (payload.metrics ?? []).map((metric, at) => {
      const name = metric.name || births.get(from)?.get(metric.alias ?? '');
      if (!name) throw new Error(`the alias ${metric.alias} was named by no birth that was seen`);
      const atMs = Number(metric.timestamp ?? payload.timestamp ?? item.atMs);
      const about = { group, node, ...(device !== undefined && { device }), type };
      return {
        ...item,
        id: `${item.id}.${at}`,
        atMs,
        value: { metric: name, value: metricValue(metric), ...about },
      };
    });
  };

  return {
    kind: 'sparkplug',
    process(items) {
      const [out, refused]: [Item[], Refused[]] = [[], []];
      for (const item of items) {
        try {
          out.push(...metricsOf(item));
        } catch (error) {
          refused.push({ item, step: 'sparkplug', reason: (error as Error).message });
        }
      }
      return { items: out, refused };
    },
    snapshot: () => [...births].map(([from, names]) => [from, [...names]]),
    restore(state) {
      births = new Map(
        (state as [string, [string, string][]][]).map(([from, names]) => [from, new Map(names)]),
      );
      aliases = [...births.values()].reduce((sum, { size }) => sum + size, 0);
    },
  };
}
