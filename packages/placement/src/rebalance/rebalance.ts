/**
 * Which instances would be better off elsewhere, now that clients, links or nodes have changed: a plan of moves, each with
 * its gain against its cost. It moves nothing. A move is proposed only when it pays well enough, has paid for a while, and
 * the hour has room for it; one that a hard bound asks for comes first and needs not to pay.
 *
 * Gain and cost are in client milliseconds: each client is taken to make one exchange a second, so a move saves
 * `savedMs` a second for each client over the horizon, and costs each the interruption once.
 */
import type { World } from '../place/context.ts';
import type { NodeVerdict, Placer } from '../place/placer.ts';
import type { Placed, PlaceRequest } from '../place/request.ts';

export interface RebalancePolicy {
  /** Time over which a move has to pay. Default 10 minutes. */
  readonly horizonMs: number;
  /** Gain has to be so many times the cost. Default 2. */
  readonly gainOverCost: number;
  /** Less than this is not worth a move. Default 1 ms. */
  readonly minSavedMs: number;
  /** Nor is less than this share of the present latency. Default 0.2. */
  readonly minSavedShare: number;
  /** A move has to have paid for so long. Default 30 s. */
  readonly holdMs: number;
  /** Moves in any hour. Default 60. */
  readonly maxPerHour: number;
}

export const REBALANCE_DEFAULTS: RebalancePolicy = {
  horizonMs: 600_000,
  gainOverCost: 2,
  minSavedMs: 1,
  minSavedShare: 0.2,
  holdMs: 30_000,
  maxPerHour: 60,
};

export interface Movable {
  /** As it would be placed anew; its key is placed in the fleet. */
  readonly request: PlaceRequest;
  /** How long its clients are without it: little for a live move or make before break, more for a restart. */
  readonly interruptionMs: number;
}

export interface Move {
  readonly key: string;
  readonly from: string;
  readonly to: string;
  readonly fromLatencyMs: number;
  readonly toLatencyMs: number;
  /** Client milliseconds. */
  readonly gain: number;
  readonly cost: number;
  /** Why it may not stay; absent when it may and only would be better off. */
  readonly because?: string;
  readonly taking: Placed['taking'];
}

export interface Held {
  readonly key: string;
  readonly to: string;
  readonly code: 'not_worth_it' | 'too_new' | 'hour_is_full';
  readonly text: string;
}

export interface RebalancePlan {
  /** To be made in this order: a later one may need the room that an earlier one leaves. */
  readonly moves: readonly Move[];
  /** What would be nearer, and why it is not moved. */
  readonly held: readonly Held[];
}

export interface Rebalancer {
  plan(movables: readonly Movable[], nowMs: number): RebalancePlan;
  /** That a move was made: it counts for the hour. */
  moved(key: string, nowMs: number): void;
}

const HOUR_MS = 3_600_000;
/** What goes away by itself or is about others: an instance that runs need not leave for it. */
const MAY_STAY = new Set([
  'unschedulable',
  'taint',
  'affinity',
  'anti_affinity',
  'repelled',
  'port_taken',
  'memory',
  'cpus',
  'disk',
  'addresses',
]);

interface Candidate {
  readonly movable: Movable;
  readonly present: NodeVerdict;
  readonly because: string | undefined;
  readonly placed: Placed;
  readonly gain: number;
  readonly cost: number;
}

export function createRebalancer(
  world: World,
  placer: Placer,
  policy: Partial<RebalancePolicy> = {},
): Rebalancer {
  const { fleet } = world;
  const rules = { ...REBALANCE_DEFAULTS, ...policy };
  /** When a move of the key was first found to pay, without a break since. */
  const payingSince = new Map<string, number>();
  let made: number[] = [];

  const consider = (movable: Movable): Candidate | undefined => {
    const { request } = movable;
    const row = fleet.get(request.key);
    if (!row) return undefined;
    const from = fleet.node(row.node).name;
    const present = placer.judge(request, from);
    const placed = placer.place({ ...request, preempt: false });
    if (!present || placed.outcome === 'refused' || placed.node === from) return undefined;
    const because = present.reasons.find(({ code }) => !MAY_STAY.has(code))?.text;
    // Spreading was asked for before nearness: it is not given up for it.
    if (because === undefined && placed.score.beside > present.score.beside) return undefined;
    const savedMs = present.score.latencyMs - placed.score.latencyMs;
    if (because === undefined && savedMs <= 0) return undefined;
    const clients = (request.near ?? []).reduce((sum, { weight = 1 }) => sum + weight, 0);
    return {
      movable,
      present,
      because,
      placed,
      gain: (clients * savedMs * rules.horizonMs) / 1000,
      cost: clients * movable.interruptionMs,
    };
  };
  const doubt = ({ present, placed, gain, cost }: Candidate): string | undefined => {
    const before = present.score.latencyMs;
    const savedMs = before - placed.score.latencyMs;
    const least = Math.max(rules.minSavedMs, rules.minSavedShare * before);
    if (savedMs < least)
      return `it would save ${savedMs.toFixed(1)} ms of ${before.toFixed(1)} ms, and ${least.toFixed(1)} ms is the least that is worth a move`;
    if (gain < rules.gainOverCost * cost)
      return `it would gain ${Math.round(gain)} client ms and cost ${Math.round(cost)}, and the gain has to be ${rules.gainOverCost} times the cost`;
    return undefined;
  };
  const order = (a: Candidate, b: Candidate) =>
    Number(b.because !== undefined) - Number(a.because !== undefined) ||
    b.gain - b.cost - (a.gain - a.cost) ||
    (a.movable.request.key < b.movable.request.key ? -1 : 1);

  return {
    moved(key, nowMs) {
      made.push(nowMs);
      payingSince.delete(key);
    },
    plan(movables, nowMs) {
      made = made.filter((atMs) => atMs > nowMs - HOUR_MS);
      const moves: Move[] = [];
      const held: Held[] = [];
      const undo: (() => void)[] = [];
      const paying = new Set<string>();
      const candidates = movables.map(consider).filter((one) => one !== undefined);
      candidates.sort(order);
      try {
        for (const { movable } of candidates) {
          // Once more, in the world as the moves before leave it.
          const candidate = consider(movable);
          if (!candidate) continue;
          const { key } = movable.request;
          const { placed, present, because } = candidate;
          const hold = (code: Held['code'], text: string) => held.push({ key, to: placed.node, code, text });
          if (because === undefined) {
            const text = doubt(candidate);
            if (text !== undefined) {
              hold('not_worth_it', text);
              continue;
            }
            paying.add(key);
            const sinceMs = payingSince.get(key) ?? nowMs;
            payingSince.set(key, sinceMs);
            if (nowMs - sinceMs < rules.holdMs) {
              hold(
                'too_new',
                `it has paid for ${nowMs - sinceMs} ms of the ${rules.holdMs} ms that it has to`,
              );
              continue;
            }
          }
          if (made.length + moves.length >= rules.maxPerHour) {
            hold('hour_is_full', `${rules.maxPerHour} moves in an hour are made or planned`);
            continue;
          }
          moves.push({
            key,
            from: present.node,
            to: placed.node,
            fromLatencyMs: present.score.latencyMs,
            toLatencyMs: placed.score.latencyMs,
            gain: candidate.gain,
            cost: candidate.cost,
            ...(because !== undefined && { because }),
            taking: placed.taking,
          });
          const row = fleet.get(key)!;
          undo.push(() => fleet.put(row));
          fleet.take(key, placed.taking);
        }
      } finally {
        for (const back of undo.reverse()) back();
      }
      for (const key of payingSince.keys()) if (!paying.has(key)) payingSince.delete(key);
      return { moves, held };
    },
  };
}
