/**
 * A reader in a thread of its own, so that what the benchmark has to do besides is not counted: a read of one workload or
 * one node every few milliseconds, whether the one before was answered or not, so that a slow answer delays no other read. It
 * says when it begins, is told to end, and answers with how long each read took, and how late it was itself: what a machine
 * does that has no processor to spare. Its connections are made before: Node takes in one new connection in each turn of its
 * loop, so that many that come at once wait for each other.
 */
import { Agent, request } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';

export interface ReadsOptions {
  readonly socketPath: string;
  /** The workloads w0, w1 …, and the nodes sim-0, sim-1 …, are there up to this number. */
  readonly count: number;
  readonly everyMs: number;
}
export interface ReadsResult {
  readonly latenciesMs: readonly number[];
  /** From when a read was due until this thread could ask. */
  readonly lateMs: readonly number[];
  /** The first answer that was none. */
  readonly failure?: string;
}

const { socketPath, count, everyMs } = workerData as ReadsOptions;
/** More than are ever under way while answers take no longer than what is promised. */
const CONNECTIONS = 32;
const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS, maxFreeSockets: CONNECTIONS });

const ask = (path: string): Promise<void> =>
  new Promise((resolve, reject) => {
    const one = request({ socketPath, path, agent }, (answer) => {
      answer.resume();
      answer.on('end', () => {
        if (answer.statusCode === 200) resolve();
        else reject(new Error(`${path}: ${answer.statusCode}`));
      });
    });
    one.on('error', reject);
    one.end();
  });

let isOver = false;
parentPort!.once('message', () => {
  isOver = true;
});

const pathOf = (turn: number): string => {
  const at = (turn * 7919) % count; // a prime: all over the place
  return turn % 2 === 0 ? `/v1/projects/default/workloads/w${at}` : `/v1/nodes/sim-${at}`;
};
await Promise.all(Array.from({ length: CONNECTIONS }, (_, turn) => ask(pathOf(turn))));
parentPort!.postMessage('begins');

const latenciesMs: number[] = [];
const lateMs: number[] = [];
const asked: Promise<void>[] = [];
let failure: string | undefined;
const begunMs = performance.now();
for (let turn = 0; !isOver; turn++) {
  const dueMs = begunMs + turn * everyMs;
  const inMs = dueMs - performance.now();
  if (inMs > 0) await pause(inMs);
  const askedMs = performance.now();
  lateMs.push(askedMs - dueMs);
  asked.push(
    ask(pathOf(turn)).then(
      () => void latenciesMs.push(performance.now() - askedMs),
      (error: Error) => {
        failure ??= error.message;
      },
    ),
  );
}
await Promise.all(asked);
agent.destroy();
parentPort!.postMessage({
  latenciesMs,
  lateMs,
  ...(failure !== undefined && { failure }),
} satisfies ReadsResult);
