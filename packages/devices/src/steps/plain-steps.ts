/** Steps on one message at a time: filter, map, join, schema, dedupe. */
import { parseMillis, type StreamStep } from '@skerry/model';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { Item, Refused } from '../message.ts';
import type { Step, StepContext } from '../ports.ts';
import { compileExpression, isTrue, withFields } from './expression.ts';

const DEDUPE = { withinMs: 600_000, limit: 100_000 } as const;

/** `one` gives what becomes of a message; what it throws is why the message is refused. */
function each(
  kind: string,
  one: (item: Item, context: StepContext) => Promise<Item | undefined> | Item | undefined,
): Step {
  return {
    kind,
    async process(items, context) {
      const [out, refused]: [Item[], Refused[]] = [[], []];
      for (const item of items) {
        try {
          const found = await one(item, context);
          if (found) out.push(found);
        } catch (error) {
          refused.push({ item, step: kind, reason: (error as Error).message });
        }
      }
      return { items: out, refused };
    },
  };
}

export function filterStep(text: string): Step {
  const evaluate = compileExpression(text);
  return each('filter', async (item) => (isTrue(await evaluate(item.value, item)) ? item : undefined));
}
/** Where nothing comes of the expression the message goes no further. */
export function mapStep(text: string): Step {
  const evaluate = compileExpression(text);
  return each('map', async (item) => {
    const value = await evaluate(item.value, item);
    return value === undefined ? undefined : { ...item, value };
  });
}

export const joinStep = ({ as = 'device' }: { as?: string }): Step =>
  each('join', (item, { device }) => {
    const known = device(item.device);
    const about = { name: item.device, ...known?.attributes, ...(known && { labels: known.labels }) };
    return { ...item, value: withFields(item.value, { [as]: about }) };
  });

/** JSON Schema 2020-12. References to elsewhere are none: nothing is fetched. Errors: Error that says what is wrong with it. */
export function schemaStep({ json }: Extract<StreamStep, { schema: unknown }>['schema']): Step {
  const ajv = new Ajv2020({ strict: false, allErrors: false, validateFormats: false });
  const validate = ajv.compile(json as object);
  return each('schema', (item) => {
    if (validate(item.value)) return item;
    const [first] = validate.errors ?? [];
    throw new Error(`${first?.instancePath || 'the value'} ${first?.message ?? 'does not fit'}`);
  });
}

/** By what an expression says, or by the message's id. Memory is bounded: of very many the oldest are forgotten. */
export function dedupeStep({ by, within }: Extract<StreamStep, { dedupe: unknown }>['dedupe']): Step {
  const evaluate = by === undefined ? undefined : compileExpression(by);
  const withinMs = within === undefined ? DEDUPE.withinMs : parseMillis(within);
  let seen = new Map<string, number>();
  let latestMs = 0;
  const step = each('dedupe', async (item, { nowMs }) => {
    const key = evaluate
      ? JSON.stringify([item.device, (await evaluate(item.value, item)) ?? null])
      : item.id;
    // By the time of events, so that a repetition gives the same; a clock that is ahead forgets nothing before its time.
    latestMs = Math.max(latestMs, Math.min(item.atMs, nowMs));
    for (const [known, atMs] of seen) {
      if (atMs >= latestMs - withinMs && seen.size <= DEDUPE.limit) break;
      seen.delete(known);
    }
    if (seen.has(key)) return undefined;
    seen.set(key, latestMs);
    return item;
  });
  return {
    ...step,
    snapshot: () => ({ latestMs, seen: [...seen] }),
    restore(state) {
      const saved = state as { latestMs: number; seen: [string, number][] };
      latestMs = saved.latestMs;
      seen = new Map(saved.seen);
    },
  };
}
