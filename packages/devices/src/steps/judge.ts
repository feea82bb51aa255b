/** Steps that judge numbers: a threshold with hysteresis, and what is unusual for a device. Both remember each device's past. */
import type { StreamStep } from '@skerry/model';
import type { Item, Refused } from '../message.ts';
import type { Step, StepOutcome } from '../ports.ts';
import { numberOf, withFields } from './expression.ts';

const DEVICES_LIMIT = 10_000;
type Threshold = Extract<StreamStep, { threshold: unknown }>['threshold'];
type Anomaly = Extract<StreamStep, { anomaly: unknown }>['anomaly'];

/** A step with a state per device, bounded; messages without the number are refused. */
function perDevice<S>(
  kind: string,
  field: string,
  fresh: () => S,
  judge: (item: Item, value: number, state: S) => { state: S; out: Item | undefined },
): Step {
  let states = new Map<string, S>();
  return {
    kind,
    process(items): StepOutcome {
      const [out, refused]: [Item[], Refused[]] = [[], []];
      for (const item of items) {
        const value = numberOf(item.value, field);
        const known = states.get(item.device);
        if (value === undefined || (known === undefined && states.size >= DEVICES_LIMIT)) {
          const reason =
            value === undefined ? `the field ${field} is no number` : `more than ${DEVICES_LIMIT} devices`;
          refused.push({ item, step: kind, reason });
          continue;
        }
        const judged = judge(item, value, known ?? fresh());
        states.set(item.device, judged.state);
        if (judged.out) out.push(judged.out);
      }
      return { items: out, refused };
    },
    snapshot: () => [...states],
    restore(state) {
      states = new Map(state as [string, S][]);
    },
  };
}

type Side = 'normal' | 'above' | 'below';
/** Passes a message when its device crosses, with `state`. */
export function thresholdStep({ field, above, below, hysteresis = 0 }: Threshold): Step {
  const next = (value: number, side: Side): Side => {
    if (above !== undefined && value > (side === 'above' ? above - hysteresis : above)) return 'above';
    if (below !== undefined && value < (side === 'below' ? below + hysteresis : below)) return 'below';
    return 'normal';
  };
  return perDevice<Side>(
    'threshold',
    field,
    () => 'normal',
    (item, value, side) => {
      const now = next(value, side);
      return {
        state: now,
        out: now === side ? undefined : { ...item, value: withFields(item.value, { state: now }) },
      };
    },
  );
}

const MOST = 1e6;
const median = (sorted: readonly number[]): number => {
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};
/** By median and median deviation (Iglewicz and Hoaglin, 1993): a few outliers among them move neither. */
export function robustZ(value: number, past: readonly number[]): number {
  const centre = median([...past].sort((a, b) => a - b));
  const deviations = past.map((one) => Math.abs(one - centre)).sort((a, b) => a - b);
  const spread =
    median(deviations) / 0.6745 || (1.2533 * deviations.reduce((a, b) => a + b, 0)) / past.length;
  if (spread === 0) return value === centre ? 0 : MOST;
  return Math.min(MOST, Math.abs(value - centre) / spread);
}

interface Past {
  /** The last values, for `robust-z`. */
  readonly values: readonly number[];
  readonly count: number;
  readonly mean: number;
  readonly variance: number;
}
/** Passes what is unusual for its device (or all, marked), with `anomaly` and `score`. The first values only teach. */
export function anomalyStep({
  field,
  method = 'robust-z',
  limit = 3.5,
  over = 100,
  pass = 'anomalies',
}: Anomaly): Step {
  const weight = 2 / (over + 1);
  const taught = Math.min(over, Math.max(3, Math.ceil(over / 10)));
  return perDevice<Past>(
    'anomaly',
    field,
    () => ({ values: [], count: 0, mean: 0, variance: 0 }),
    (item, value, past) => {
      const deviation = Math.sqrt(past.variance);
      const ewma =
        deviation === 0 ? (value === past.mean ? 0 : MOST) : Math.abs(value - past.mean) / deviation;
      const known = past.count >= taught;
      const score = known ? (method === 'ewma' ? Math.min(MOST, ewma) : robustZ(value, past.values)) : 0;
      const anomaly = score > limit;
      const difference = value - past.mean;
      const state: Past = {
        values: method === 'ewma' ? [] : [...past.values, value].slice(-over),
        count: past.count + 1,
        mean: past.count === 0 ? value : past.mean + weight * difference,
        variance: past.count === 0 ? 0 : (1 - weight) * (past.variance + weight * difference * difference),
      };
      const out =
        anomaly || pass === 'all'
          ? { ...item, value: withFields(item.value, { anomaly, score }) }
          : undefined;
      return { state, out };
    },
  );
}
