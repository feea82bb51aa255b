/**
 * A handover in the lab of examples/labs: from the moment at which a client is moved to the first answer of the instance that is
 * nearest from then on, as the client sees it, less what an answer takes it anyway. The client asks without a pause, each time
 * over a connection of its own.
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
  const run = async (...args: string[]) => {
    const ran = await typed(args, { env: { SKERRY_LABS: labs }, timeoutMs: 180_000 });
    if (ran.code !== 0) throw new Error(`skerry ${args.join(' ')}: ${ran.stderr}`);
  };
  let asking: ReturnType<typeof startAsking> | undefined;
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
    return {
      id: 'handover',
      title: 'A handover, as the client sees it',
      verdicts: [
        {
          promise: `the first answer of the new nearest instance comes at most ${GOAL_MS} ms above a usual one after the move`,
          measured: `${digits(half)} ms above it in the median, ${digits(Math.max(...handovers))} ms at most`,
          kept: half <= GOAL_MS,
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
    asking?.child.kill('SIGKILL');
    await typed(['lab', 'down'], { env: { SKERRY_LABS: labs }, timeoutMs: 60_000 });
    rmSync(labs, { recursive: true, force: true });
  }
}
