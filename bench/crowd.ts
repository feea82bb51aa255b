/** Many guests at once: 40 functions that answer; 50 containers and 20 functions together; ten guests that idle. */
import { setTimeout as pause } from 'node:timers/promises';
import { cpuMs, parentOf, processesOf, pssBytes, rssBytes, sum } from './processes.ts';
import type { Finding } from './report.ts';
import { firstAnswer, manifestOf, type Skerry } from './skerry.ts';
import { digits, median, percentile } from './statistics.ts';

const MB = 1e6;
export const inMB = (bytes: number) => `${digits(bytes / MB)} MB`;
const isRunning = ({ status }: { status: { phase: string } }) => status.phase === 'running';

export interface Wanted {
  readonly name: string;
  readonly runtime: 'container' | 'unikernel' | 'vm' | 'system';
  readonly replicas: number;
  readonly cpus: number;
}

/** Applies all in one manifest; times are milliseconds after the acknowledgement, one for each guest. */
export async function startAll(skerry: Skerry, wanted: readonly Wanted[]) {
  const guests = wanted.flatMap(({ name, runtime, replicas }) =>
    Array.from({ length: replicas }, (_, at) => ({ name: `${name}-${at}`, runtime })),
  );
  const watched = guests.map(async ({ name, runtime }) => {
    const known = skerry.seen(name, ({ spec }) => spec.network !== undefined);
    const running = skerry.seen(name, isRunning);
    const answeredMs =
      runtime === 'unikernel'
        ? await firstAnswer((await known).instance.spec.network!.address, '/healthz', 40)
        : undefined;
    return { runtime, runningMs: (await running).atMs, ...(answeredMs === undefined ? {} : { answeredMs }) };
  });
  const acknowledgedMs = await skerry.apply(wanted.map((one) => manifestOf(one)).join('\n---\n'));
  const started = await Promise.all(watched);
  return started.map((one) => ({
    runtime: one.runtime,
    runningMs: one.runningMs - acknowledgedMs,
    ...(one.answeredMs === undefined ? {} : { answeredMs: one.answeredMs - acknowledgedMs }),
  }));
}

/** Shares of one processor that each process took, over `seconds`. */
export async function idleShares(pids: readonly number[], seconds: number): Promise<Map<number, number>> {
  const before = pids.map(cpuMs);
  const begunMs = performance.now();
  await pause(seconds * 1000);
  const tookMs = performance.now() - begunMs;
  return new Map(pids.map((pid, at) => [pid, Math.max(0, cpuMs(pid) - before[at]!) / tookMs]));
}

export const percent = (share: number) => `${digits(share * 100)} % of a core`;
export const everything = (skerry: Skerry) => processesOf([skerry.program.id, skerry.program.dataDir]);

export async function benchForty(skerry: Skerry): Promise<Finding> {
  const started = await startAll(skerry, [{ name: 'crowd', runtime: 'unikernel', replicas: 40, cpus: 0.5 }]);
  const answered = started.map(({ answeredMs }) => answeredMs!);
  const pids = skerry.instances().map(({ status }) => status.pid!);
  const qemu = pids.map(pssBytes);
  const supervisor = pids.map((pid) => pssBytes(parentOf(pid)));
  const each = qemu.map((bytes, at) => bytes + supervisor[at]!);
  const lastMs = Math.max(...answered);
  const mostBytes = Math.max(...each);
  return {
    id: 'forty',
    title: '40 functions at once',
    verdicts: [
      {
        promise: '40 pebbles answer within 4 s',
        measured: `${digits(lastMs / 1000)} s`,
        kept: lastMs <= 4000,
      },
      {
        promise: 'each takes at most 20 MB (PSS of QEMU and its supervisor)',
        measured: `${inMB(mostBytes)} at the most`,
        kept: mostBytes <= 20 * MB,
      },
    ],
    tables: [
      {
        title: 'From apply acknowledged to the answer',
        columns: ['', 'first', 'median', 'last'],
        rows: [
          ['answered', ...[Math.min(...answered), median(answered), lastMs].map((ms) => `${digits(ms)} ms`)],
        ],
      },
      {
        title: 'Memory of one',
        columns: ['', 'median', 'most'],
        rows: [
          ['QEMU with its 8 MiB guest', inMB(median(qemu)), inMB(Math.max(...qemu))],
          ['supervisor', inMB(median(supervisor)), inMB(Math.max(...supervisor))],
          ['together', inMB(median(each)), inMB(mostBytes)],
        ],
      },
    ],
    notes: [
      'Once, not in turns: nothing stands beside it. PSS counts a page that 40 processes share as a fortieth.',
    ],
    samples: { answered, each },
  };
}

export async function benchCrowd(skerry: Skerry): Promise<Finding> {
  const started = await startAll(skerry, [
    { name: 'box', runtime: 'container', replicas: 50, cpus: 0.2 },
    { name: 'fun', runtime: 'unikernel', replicas: 20, cpus: 0.5 },
  ]);
  const running = started.map(({ runningMs }) => runningMs);
  const lastMs = Math.max(...running);
  await pause(3000);
  const pids = everything(skerry);
  const shares = await idleShares(pids, 15);
  const skerryPid = skerry.program.pid();
  const wholePss = sum(pids.map(pssBytes));
  return {
    id: 'crowd',
    title: '50 containers and 20 functions at once',
    verdicts: [
      {
        promise: '50 containers and 20 unikernels run at once on this machine',
        measured: `${running.length} run after ${digits(lastMs / 1000)} s`,
        kept: running.length === 70,
      },
    ],
    tables: [
      {
        title: 'From apply acknowledged',
        columns: ['', 'median', 'p99', 'last', 'guests started per second'],
        rows: (['container', 'unikernel'] as const)
          .map((runtime) => {
            const own = started.filter((one) => one.runtime === runtime).map(({ runningMs }) => runningMs);
            const last = Math.max(...own);
            return [
              runtime,
              ...[median(own), percentile(own, 0.99), last].map((ms) => `${digits(ms)} ms`),
              digits((own.length / last) * 1000),
            ];
          })
          .concat([
            [
              'all',
              `${digits(median(running))} ms`,
              `${digits(percentile(running, 0.99))} ms`,
              `${digits(lastMs)} ms`,
              digits((running.length / lastMs) * 1000),
            ],
          ]),
      },
      {
        title: 'What it takes while all of it idles',
        columns: ['', 'processes', 'memory (PSS)', 'processor'],
        rows: [
          ['everything', String(pids.length), inMB(wholePss), percent(sum([...shares.values()]))],
          ['skerry alone', '1', inMB(pssBytes(skerryPid)), percent(shares.get(skerryPid) ?? 0)],
        ],
      },
    ],
    notes: [],
    samples: { running },
  };
}

/** What starting left to be collected is collected by then. */
/** Until what the starts left behind is collected (V8 does so within ten seconds). */
const SETTLE_MS = 15_000;
const IDLE_SECONDS = 60;
const IDLE_RSS_BYTES = 150 * MB;
const IDLE_SHARE = 0.005;

export async function benchIdle(skerry: Skerry): Promise<Finding> {
  await startAll(skerry, [
    { name: 'box', runtime: 'container', replicas: 5, cpus: 0.5 },
    { name: 'fun', runtime: 'unikernel', replicas: 5, cpus: 0.5 },
  ]);
  await pause(SETTLE_MS);
  const pid = skerry.program.pid();
  const shares = await idleShares(everything(skerry), IDLE_SECONDS);
  const rss = rssBytes(pid);
  const share = shares.get(pid) ?? 0;
  return {
    id: 'idle',
    title: 'Idle with ten guests',
    verdicts: [
      {
        promise: 'controller and agent in one process, at most 150 MB RSS',
        measured: inMB(rss),
        kept: rss <= IDLE_RSS_BYTES,
      },
      { promise: 'below 0.5 % of a core', measured: percent(share), kept: share < IDLE_SHARE },
    ],
    tables: [
      {
        title: `Five containers and five functions, ${IDLE_SECONDS} s`,
        columns: ['', 'RSS', 'PSS', 'processor'],
        rows: [
          ['skerry', inMB(rss), inMB(pssBytes(pid)), percent(share)],
          [
            'with engines and guests',
            '',
            inMB(sum([...shares.keys()].map(pssBytes))),
            percent(sum([...shares.values()])),
          ],
        ],
      },
    ],
    notes: ['Each function is asked for its health every two seconds. A watch of the API is open.'],
    samples: {},
  };
}
