/**
 * A handover in the lab of examples/labs: from the moment at which a client is moved to the first answer of the instance that is
 * nearest from then on, as the client sees it, less what an answer takes it anyway. The client asks without a pause, each time
 * over a connection of its own; beside that it holds one connection all the time, on which nothing may get lost.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { launchThrough } from '@skerry/host';
import { chooseLab, moveClient } from '@skerry/lab';
import { ROOT, skerry as typed } from '../tests/support/program.ts';
import type { Finding } from './report.ts';
import { digits, median } from './statistics.ts';

const GOAL_MS = 50;
const PHONE = 'phone-1';
const TOWERS = ['tower-1', 'tower-2'] as const;
const URL = 'http://hello.default.edge:8080/cgi-bin/whoami';
const LIMIT_MS = 20_000;

interface Answer {
  /** Since the epoch; one clock for both sides. */
  readonly atMs: number;
  readonly tookMs: number;
  readonly by: string;
}

const now = () => performance.timeOrigin + performance.now();

/** The client in its namespace; every answer that it gets, as it comes. */
function startAsking(env: NodeJS.ProcessEnv): { child: ChildProcess; answers: Answer[] } {
  const words = ['lab', 'exec', PHONE, '--', 'node', join(ROOT, 'scripts/answers.mjs'), '--all', URL];
  const child = spawn(join(ROOT, 'bin/skerry'), words, { env, stdio: ['ignore', 'pipe', 'ignore'] });
  const answers: Answer[] = [];
  createInterface({ input: child.stdout! }).on('line', (line) => {
    const [atMs, tookMs, ...by] = line.split(' ');
    answers.push({ atMs: Number(atMs), tookMs: Number(tookMs), by: by.join(' ') });
  });
  return { child, answers };
}

/** Sends back what it gets. */
const ECHO = `apiVersion: skerry/v1
kind: Workload
metadata: { name: echo }
spec:
  runtime: container
  image: hello:1
  command: [/bin/busybox, nc, -ll, -p, '9000', -e, /bin/cat]
  replicas: 3
  resources: { cpus: 0.1, memory: 16MiB }
  ports: [{ name: echo, port: 9000 }]
  placement: { near: { clients: { kind: phone } }, spread: site }
`;
/** Counts up on one connection, a line each 5 ms, until its input ends; then prints lines sent, and those that came back in order. */
const HOLD = `
const socket = require('node:net').connect(9000, 'echo.default.edge');
let sent = 0, got = '', ended = false;
socket.on('data', (data) => { got += data; });
socket.on('error', () => undefined);
socket.on('connect', () => { const timer = setInterval(() => { if (ended) { clearInterval(timer); socket.end(); } else socket.write(sent++ + '\\n'); }, 5); });
process.stdin.on('end', () => { ended = true; }).resume();
socket.on('close', () => { const lines = got.split('\\n').slice(0, -1); const whole = lines.findIndex((line, at) => line !== String(at));
  console.log(sent + ' ' + (whole < 0 ? lines.length : whole)); process.exit(); });`;

function startHolding(env: NodeJS.ProcessEnv) {
  const words = ['lab', 'exec', PHONE, '--', 'node', '-e', HOLD];
  const child = spawn(join(ROOT, 'bin/skerry'), words, { env, stdio: ['pipe', 'pipe', 'ignore'] });
  let said = '';
  child.stdout.on('data', (data) => {
    said += data;
  });
  const closed = new Promise((resolve) => child.once('close', resolve));
  return {
    child,
    async end() {
      child.stdin.end();
      await closed;
      const [sent = 0, whole = 0] = said.trim().split(' ').map(Number);
      return { sent, whole };
    },
  };
}

async function until<T>(look: () => T | undefined): Promise<T> {
  const end = now() + LIMIT_MS;
  for (;;) {
    const found = look();
    if (found !== undefined) return found;
    if (now() > end) throw new Error('the client got no answer of another instance');
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

export async function benchHandover(runs: number): Promise<Finding> {
  const labs = mkdtempSync(join(tmpdir(), 'skerry-bench-lab-'));
  const env = { ...process.env, SKERRY_LABS: labs };
  const give = async (input: string | undefined, ...args: string[]) => {
    const ran = await typed(args, {
      ...{ env: { SKERRY_LABS: labs }, timeoutMs: 180_000 },
      ...(input !== undefined && { input }),
    });
    if (ran.code !== 0) throw new Error(`skerry ${args.join(' ')}: ${ran.stderr}`);
  };
  const run = (...args: string[]) => give(undefined, ...args);
  let asking: ReturnType<typeof startAsking> | undefined;
  let holding: ReturnType<typeof startHolding> | undefined;
  const close = launchThrough(join(ROOT, 'packages/host/native/build/skerry-launch'));
  try {
    await run('lab', 'up', join(ROOT, 'examples/labs/harbour.yaml'), '--wait');
    const data = ['--data', join(labs, 'harbour/machines/controller/data')];
    await run(...data, 'workload', 'delete', 'hello');
    await run(...data, 'apply', '-f', join(ROOT, 'examples/labs/nearest.yaml'), '--wait');
    const folder = chooseLab(labs, 'harbour');
    const native = (name: string) => join(ROOT, 'packages/host/native/build', name);
    const programs = {
      link: native('skerry-link'),
      machine: native('skerry-machine'),
      skerry: [process.execPath, join(ROOT, 'dist/skerry.mjs')] as const,
    };
    await give(ECHO, ...data, 'apply', '-f', '-', '--wait');
    holding = startHolding(env);
    asking = startAsking(env);
    const { answers } = asking;
    const handovers: number[] = [];
    for (let turn = 0; turn < runs; turn++) {
      const last = await until(() => answers.at(-1));
      const usualMs = median(answers.slice(-20).map(({ tookMs }) => tookMs));
      const begunMs = now();
      const tower = TOWERS[(turn + 1) % TOWERS.length]!;
      await moveClient({ folder, programs, signal: AbortSignal.timeout(LIMIT_MS) }, PHONE, tower);
      const first = await until(() => answers.find(({ atMs, by }) => atMs > begunMs && by !== last.by));
      handovers.push(first.atMs - begunMs - usualMs);
      await until(() => (answers.at(-1)!.atMs > first.atMs + 500 ? true : undefined));
    }
    const half = median(handovers);
    const { sent, whole } = await holding.end();
    return {
      id: 'handover',
      title: 'A handover, as the client sees it',
      verdicts: [
        {
          promise: `the first answer of the new nearest instance comes at most ${GOAL_MS} ms above a usual one after the move`,
          measured: `${digits(half)} ms above it in the median, ${digits(Math.max(...handovers))} ms at most`,
          kept: half <= GOAL_MS,
        },
        {
          promise: 'an established connection loses no byte',
          measured: `${whole} of ${sent} lines came back, in order, on one connection over ${runs} moves`,
          kept: sent > 0 && whole === sent,
        },
      ],
      tables: [],
      notes: [
        `${runs} moves between two towers whose sites have an instance each, 5 ms apart; the time includes drawing the new line of the emulated network.`,
      ],
      samples: { 'from the move to the first new answer, less a usual one (ms)': handovers },
    };
  } finally {
    close();
    for (const one of [asking, holding]) one?.child.kill('SIGKILL');
    await typed(['lab', 'down'], { env: { SKERRY_LABS: labs }, timeoutMs: 60_000 });
    rmSync(labs, { recursive: true, force: true });
  }
}
