/**
 * Thousands of agents on one controller: simulated ones, in one process, that joined with a token each and hold a session
 * each over mutual TLS. What it takes in memory and processor time, how long until a change of one workload on every agent
 * was observed by all, and how long reads take meanwhile. AGENTS=500 is a quick look.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { Instance } from '@skerry/model';
import { type SimEdge, startSimEdge } from '../tests/support/sim-edge.ts';
import { cpuMs, rssBytes } from './processes.ts';
import type { ReadsOptions, ReadsResult } from './reads.ts';
import type { Finding } from './report.ts';
import { digits, median, percentile } from './statistics.ts';

const AGENTS = Math.max(1, Number(process.env.AGENTS ?? 5000));
const LIMIT_MS = 600_000;
const IDLE_MS = 20_000;
/** Requests that change something, under way at the same time. */
const WRITERS = 16;
/** A read each, whether the one before was answered or not: who waits for a slow one must not be counted as one. */
const READ_EVERY_MS = 10;
const MiB = 2 ** 20;

interface Cost {
  readonly tookMs: number;
  readonly controllerCpuMs: number;
  readonly agentsCpuMs: number;
}

async function costOf(edge: SimEdge, work: () => Promise<unknown>): Promise<Cost> {
  const cpu = () => ({ controller: cpuMs(edge.controllerPid), agents: cpuMs(edge.agentsPid) });
  const [before, begunMs] = [cpu(), performance.now()];
  await work();
  const after = cpu();
  return {
    tookMs: performance.now() - begunMs,
    controllerCpuMs: after.controller - before.controller,
    agentsCpuMs: after.agents - before.agents,
  };
}

/** Reads while `work` goes on. */
async function readWhile(edge: SimEdge, work: () => Promise<unknown>): Promise<ReadsResult> {
  const options: ReadsOptions = { socketPath: edge.socketPath, count: AGENTS, everyMs: READ_EVERY_MS };
  const reader = new Worker(new URL('./reads.mjs', import.meta.url), { workerData: options });
  const told = <T>() =>
    new Promise<T>((resolve, reject) => reader.once('message', resolve).once('error', reject));
  await told<'begins'>();
  const answered = told<ReadsResult>();
  await work();
  reader.postMessage('end');
  const result = await answered;
  if (result.failure !== undefined) throw new Error(`a read failed: ${result.failure}`);
  return result;
}

const manifest = (at: number, turn: number) => ({
  apiVersion: 'skerry/v1' as const,
  kind: 'Workload' as const,
  metadata: { name: `w${at}` },
  spec: { runtime: 'sim' as const, image: 'sim', env: { TURN: String(turn) } },
});
const runsTurn = (turn: number) => (instance: Instance) =>
  instance.spec.template.env?.TURN === String(turn) &&
  instance.status.phase === 'running' &&
  instance.status.observedGeneration === instance.metadata.generation;

/** One workload for each agent, made or changed; resolves when every agent has reported that its own is as it is to be. */
async function turnAll(edge: SimEdge, turn: number): Promise<void> {
  let next = 0;
  const write = async () => {
    for (let at = next++; at < AGENTS; at = next++)
      await edge.client.workload.put({ project: 'default', name: `w${at}`, body: manifest(at, turn) });
  };
  const observed = edge.all(AGENTS, runsTurn(turn), LIMIT_MS);
  await Promise.all([observed, ...Array.from({ length: WRITERS }, write)]);
}

export async function benchAgents(): Promise<Finding> {
  const edge = await startSimEdge(AGENTS, { joinLimitMs: LIMIT_MS });
  const [found] = await Promise.allSettled([measure(edge)]);
  const left = await edge.end();
  if (found.status === 'rejected') throw found.reason;
  if (left.length > 0) throw new Error(`left behind: ${left.join('; ')}`);
  return found.value;
}

async function measure(edge: SimEdge): Promise<Finding> {
  const rss = () => ({ controller: rssBytes(edge.controllerPid), agents: rssBytes(edge.agentsPid) });
  const joined = rss();
  const joining: Cost = {
    tookMs: edge.joinedMs,
    controllerCpuMs: cpuMs(edge.controllerPid),
    agentsCpuMs: cpuMs(edge.agentsPid),
  };
  const made = await costOf(edge, () => turnAll(edge, 1));
  let reads: ReadsResult = { latenciesMs: [], lateMs: [] };
  let most = rss();
  const watching = setInterval(() => {
    const now = rss();
    most = {
      controller: Math.max(most.controller, now.controller),
      agents: Math.max(most.agents, now.agents),
    };
  }, 200);
  const changed = await costOf(edge, async () => {
    reads = await readWhile(edge, () => turnAll(edge, 2));
  });
  clearInterval(watching);
  const idle = await costOf(edge, () => pause(IDLE_MS));
  await edge.replaceController();
  const back = await costOf(edge, () => turnAll(edge, 3));
  const nodes = new Set([...edge.instances.values()].map(({ spec }) => spec.node)).size;
  const { latenciesMs: readMs, lateMs } = reads;
  const p99 = percentile(readMs, 0.99);
  const row = (what: string, { tookMs, controllerCpuMs, agentsCpuMs }: Cost) => [
    what,
    `${digits(tookMs / 1000)} s`,
    `${digits((100 * controllerCpuMs) / tookMs)} %`,
    `${digits((100 * agentsCpuMs) / tookMs)} %`,
  ];
  const count = AGENTS.toLocaleString('en-US');
  return {
    id: 'agents',
    title: `${count} agents on one controller`,
    verdicts: [
      {
        promise: `the controller takes less than 1 GB with ${count} agents, a workload on each, all changed`,
        measured: `${digits(most.controller / 1e6)} MB at the most`,
        kept: most.controller < 1e9,
      },
      {
        promise: 'reads are answered within 50 ms in the p99 while a workload of every agent changes',
        measured: `${digits(p99)} ms`,
        kept: p99 < 50,
      },
    ],
    tables: [
      {
        title: 'What takes how long, and how much of a processor meanwhile',
        columns: ['', 'took', 'controller', 'all agents'],
        rows: [
          row('joining, one token and two handshakes each', joining),
          row('a workload for each agent: made, placed, observed by all', made),
          row('a change of each: written, guests made anew, observed by all', changed),
          row('nothing to do', idle),
          row('the controller killed and started again: all are back, and another change of each', back),
        ],
      },
      {
        title: 'Memory (resident)',
        columns: ['', 'controller', 'all agents'],
        rows: [
          ['all joined', `${digits(joined.controller / MiB)} MiB`, `${digits(joined.agents / MiB)} MiB`],
          [
            'most during the change',
            `${digits(most.controller / MiB)} MiB`,
            `${digits(most.agents / MiB)} MiB`,
          ],
          [
            'for each agent',
            `${digits(most.controller / AGENTS / 1024)} KiB`,
            `${digits(most.agents / AGENTS / 1024)} KiB`,
          ],
        ],
      },
      {
        title: `Reads during the change, one every ${READ_EVERY_MS} ms`,
        columns: ['', 'reads', 'median', 'p99', 'most'],
        rows: [
          [
            'one workload or one node',
            String(readMs.length),
            ...[median(readMs), p99, Math.max(...readMs)].map((value) => `${digits(value)} ms`),
          ],
          [
            'how late the reader itself was, for want of a processor',
            String(lateMs.length),
            ...[median(lateMs), percentile(lateMs, 0.99), Math.max(...lateMs)].map(
              (value) => `${digits(value)} ms`,
            ),
          ],
        ],
      },
    ],
    notes: [
      `The agents are the agent's own code with simulated guests and a ledger in memory, ${count} in one process; they joined ${nodes === AGENTS ? 'and each has one workload' : `and ${nodes} of them have workloads`}. Agents, load and controller share the machine's processors.`,
      `Changes: ${WRITERS} at a time, each a PUT of one workload with another environment, so that its guest is made anew. Reads are asked for in time, whether others were answered or not, over connections that were made before.`,
    ],
    samples: { readMs },
  };
}
