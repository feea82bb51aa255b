/**
 * How far chosen sites are from the optimum: k sites for n weighted clients under capacities, some with a bound on latency,
 * the total latency least. The optimum is proved by HiGHS, which has nothing in common with the project; the project's own
 * exact search is held against it too. For instances too large for a proof the project's lower bound stands in, which lies
 * below the optimum, so that the true distance is smaller than what is shown.
 */
import {
  type ChooseRequest,
  chooseExactly,
  chooseSites,
  instanceOf,
  lowerBound,
  seeded,
} from '@skerry/placement';
import { chooseInstance, SHAPES } from '@skerry/placement/testing';
import { brokenBy, createOptimum } from './optimum.ts';
import type { Finding } from './report.ts';
import { digits, median } from './statistics.ts';

const FULL_RUN = { instances: 200, limitS: 60 };
const QUICK_RUN = { instances: 30, limitS: 30 };
/** Of the own exact search: it is meant for small instances. */
const EXACT_NODES = 60;
/** Two proofs of one optimum differ by rounding, and by the gap at which HiGHS is done. */
const SAME = 1e-6;

/** Seed 1, 2 …: each its shape, size and fullness; every fourth has a bound on latency for each client. */
function instance(seed: number): ChooseRequest {
  const random = seeded(seed);
  const request = chooseInstance(
    SHAPES[seed % 3]!,
    {
      sites: 10 + Math.floor(random() * 31),
      clients: 40 + Math.floor(random() * 161),
      replicas: 2 + Math.floor(random() * 6),
      tightness: [0, 0.6, 0.85][Math.floor(random() * 3)]!,
    },
    random,
  );
  if (seed % 4 > 0) return request;
  const latencyMs = Float64Array.from(request.latencyMs);
  for (let client = 0; client < request.weights.length; client++) {
    const boundMs = 4 + 8 * random();
    for (let at = client * request.sites; at < (client + 1) * request.sites; at++)
      if (latencyMs[at]! > boundMs) latencyMs[at] = Number.POSITIVE_INFINITY;
  }
  return { ...request, latencyMs };
}

interface Quality {
  /** Shares above the optimum that HiGHS proved. */
  readonly gaps: number[];
  /** The same above its bound, where it was not done in time. */
  readonly unproved: number[];
  readonly broken: string[];
  /** Instances where both searches proved an optimum, and those of them where it is not the same. */
  readonly both: number;
  readonly differ: number;
  readonly tookMs: { readonly ours: number[]; readonly exact: number[]; readonly highs: number[] };
}

async function quality({ instances, limitS }: typeof FULL_RUN): Promise<Quality> {
  const optimum = await createOptimum(limitS);
  const gaps: number[] = [];
  const unproved: number[] = [];
  const broken: string[] = [];
  const tookMs = { ours: [] as number[], exact: [] as number[], highs: [] as number[] };
  let [both, differ] = [0, 0];
  for (let seed = 1; seed <= instances; seed++) {
    const request = instance(seed);
    const whole = instanceOf(request);
    const begunMs = performance.now();
    const choice = chooseSites(request, { seed });
    const chosenMs = performance.now();
    const exact = chooseExactly(whole, { start: choice.sites, maxNodes: EXACT_NODES });
    tookMs.ours.push(chosenMs - begunMs);
    tookMs.exact.push(performance.now() - chosenMs);
    const best = optimum(whole);
    tookMs.highs.push(best.tookMs);
    // Whom nobody serves costs more than any way: who serves fewer can not look better.
    const cost = choice.totalMs + choice.unserved * whole.unservedMs;
    (best.proved ? gaps : unproved).push(cost / best.bound - 1);
    broken.push(...brokenBy(request, choice).map((text) => `instance ${seed}: ${text}`));
    if (!best.proved || !exact.proved) continue;
    both++;
    if (Math.abs(exact.cost / best.cost - 1) > SAME) differ++;
  }
  return { gaps, unproved, broken, both, differ, tookMs };
}

interface Large {
  readonly rows: string[][];
  readonly gaps: number[];
  readonly timesMs: number[];
  readonly broken: string[];
}

function large(): Large {
  const found: Large = { rows: [], gaps: [], timesMs: [], broken: [] };
  for (const shape of SHAPES) {
    for (const tightness of [0, 0.6, 0.85]) {
      const request = chooseInstance(
        shape,
        { sites: 125, clients: 816, replicas: 12, tightness },
        seeded(17),
      );
      const times = Array.from({ length: 3 }, () => {
        const begunMs = performance.now();
        chooseSites(request);
        return performance.now() - begunMs;
      });
      const tookMs = median(times);
      const choice = chooseSites(request);
      const bound = lowerBound(instanceOf(request), { upper: choice.totalMs, steps: 400 });
      const gap = choice.totalMs / bound.cost - 1;
      found.gaps.push(gap);
      found.timesMs.push(tookMs);
      found.broken.push(...brokenBy(request, choice));
      found.rows.push([
        `${shape}, ${tightness === 0 ? 'no capacities' : `${100 * tightness} % full`}`,
        `${digits(tookMs)} ms`,
        percent(gap),
      ]);
    }
  }
  return found;
}

const percent = (share: number) => `${digits(Math.max(0, share) * 100)} %`;
const row = (name: string, gaps: readonly number[]) => [
  name,
  String(gaps.length),
  gaps.length === 0 ? '' : percent(median(gaps)),
  gaps.length === 0 ? '' : percent(Math.max(...gaps)),
];
const times = (name: string, tookMs: readonly number[]) => [
  name,
  `${digits(median(tookMs))} ms`,
  `${digits(Math.max(...tookMs))} ms`,
];

export async function benchSites(runs: number): Promise<Finding> {
  const plan = runs >= 10 ? FULL_RUN : QUICK_RUN;
  const small = await quality(plan);
  const big = large();
  const all = [...small.gaps, ...small.unproved];
  const broken = [...small.broken, ...big.broken];
  return {
    id: 'sites',
    title: 'Sites chosen for clients',
    verdicts: [
      {
        promise: 'chosen sites within 1 % of the optimum in the median and 3 % in the worst',
        measured: `${percent(median(all))} and ${percent(Math.max(...all))}`,
        kept: median(all) <= 0.01 && Math.max(...all) <= 0.03,
      },
      {
        promise: '125 sites and 816 clients: within 1 % and 3 % of the bound, in at most 300 ms',
        measured: `${percent(median(big.gaps))} and ${percent(Math.max(...big.gaps))}, ${digits(Math.max(...big.timesMs))} ms`,
        kept: median(big.gaps) <= 0.01 && Math.max(...big.gaps) <= 0.03 && Math.max(...big.timesMs) <= 300,
      },
      {
        promise: 'no capacity and no bound on latency is broken',
        measured: broken.length === 0 ? 'none' : broken.slice(0, 3).join('; '),
        kept: broken.length === 0,
      },
      {
        promise: 'the own exact search finds the optimum that HiGHS finds',
        measured: `${small.both - small.differ} of ${small.both}`,
        kept: small.differ === 0 && small.both > 0,
      },
    ],
    tables: [
      {
        title: `Choices against the optimum (${plan.instances} instances, up to 40 sites and 200 clients)`,
        columns: ['', 'instances', 'median', 'worst'],
        rows: [
          row('above the optimum that HiGHS proved', small.gaps),
          row(`above its bound, where ${plan.limitS} s were not enough`, small.unproved),
        ],
      },
      {
        title: 'What an answer takes',
        columns: ['', 'median', 'most'],
        rows: [
          times('the choice', small.tookMs.ours),
          times(`the own exact search, ${EXACT_NODES} nodes at most`, small.tookMs.exact),
          times('HiGHS', small.tookMs.highs),
        ],
      },
      {
        title: '12 of 125 sites for 816 weighted clients, against a lower bound',
        columns: ['', 'took', 'above the bound'],
        rows: big.rows,
      },
    ],
    notes: [
      'A third of the instances is at random, a third clustered like a city, a third strung along a road; two in three have capacities, every fourth a bound on latency for each client. HiGHS runs as WebAssembly on one thread, and is told nothing of the choice.',
      'The lower bound of the large ones is the project’s own (Lagrange); it lies below the optimum, so the true distance is smaller than what is shown.',
    ],
    samples: {
      ...{ gaps: small.gaps, unprovedGaps: small.unproved, highsMs: small.tookMs.highs },
      ...{ largeGaps: big.gaps, largeMs: big.timesMs },
    },
  };
}
