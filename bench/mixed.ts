/** A crowd of all four kinds on one machine: until all answer, what it takes, and until all answer again after a power cut. */
import { setTimeout as pause } from 'node:timers/promises';
import { cutPower } from '../tests/support/power.ts';
import { everything, idleShares, inMB, percent } from './crowd.ts';
import { hypervisorBytes, parentOf, pssBytes, sum } from './processes.ts';
import type { Finding } from './report.ts';
import { firstAnswer, manifestOf, type Skerry, startSkerry } from './skerry.ts';
import { digits, median } from './statistics.ts';

const CROWD = [
  { name: 'vm', runtime: 'vm', replicas: 10, cpus: 0.5 },
  { name: 'box', runtime: 'container', replicas: 30, cpus: 0.2 },
  { name: 'sys', runtime: 'system', replicas: 10, cpus: 0.2 },
  { name: 'fun', runtime: 'unikernel', replicas: 20, cpus: 0.5 },
] as const;
const KINDS = CROWD.map(({ runtime }) => runtime);
const EVERY_MS = 200;
const SETTLE_MS = 20_000;
const IDLE_SECONDS = 60;
const MIB = 1024 * 1024;

export async function benchMixed(): Promise<Finding> {
  const skerry = await startSkerry();
  try {
    return await measure(skerry);
  } finally {
    await skerry.purge();
  }
}

async function measure(skerry: Skerry): Promise<Finding> {
  const guests = CROWD.flatMap(({ name, runtime, replicas }) =>
    Array.from({ length: replicas }, (_, at) => ({ name: `${name}-${at}`, runtime })),
  );
  const watched = guests.map(async ({ name, runtime }) => {
    const { instance } = await skerry.seen(name, ({ spec }) => spec.network !== undefined);
    const { address } = instance.spec.network!;
    return { runtime, address, answeredMs: await firstAnswer(address, '/healthz', EVERY_MS) };
  });
  const acknowledgedMs = await skerry.apply(CROWD.map((one) => manifestOf(one)).join('\n---\n'));
  const started = (await Promise.all(watched)).map((one) => ({
    ...one,
    answeredMs: one.answeredMs - acknowledgedMs,
  }));
  await pause(SETTLE_MS);
  const pids = everything(skerry);
  const shares = await idleShares(pids, IDLE_SECONDS);
  const skerryPid = skerry.program.pid();
  const machines = skerry
    .instances()
    .filter(({ spec }) => spec.template.runtime === 'vm')
    .map(({ status }) => status.pid!);
  const overhead = machines.map((pid) => hypervisorBytes(pid) + pssBytes(parentOf(pid)));
  const pss = sum(pids.map(pssBytes));

  await cutPower(skerry.program);
  const begunMs = performance.now();
  await skerry.program.run('up', '--detach', '--alone');
  const again = await Promise.all(
    started.map(async ({ runtime, address }) => ({
      runtime,
      answeredMs: (await firstAnswer(address, '/healthz', EVERY_MS)) - begunMs,
    })),
  );
  await skerry.program.run('down');
  await skerry.program.up();

  const timesOf = (list: readonly { runtime: string; answeredMs: number }[], runtime: string) =>
    list.filter((one) => one.runtime === runtime).map(({ answeredMs }) => answeredMs);
  const seconds = (ms: number) => `${digits(ms / 1000)} s`;
  const last = (list: readonly { answeredMs: number }[]) =>
    Math.max(...list.map(({ answeredMs }) => answeredMs));
  return {
    id: 'mixed',
    title: '10 VMs, 30 containers, 10 system containers and 20 unikernels at once',
    verdicts: [
      {
        promise: 'all 70 guests of four kinds answer at once on this machine',
        measured: `${started.length} after ${seconds(last(started))}`,
        kept: started.length === guests.length,
      },
      {
        promise: 'after a power cut all 70 answer again by the agent alone',
        measured: `${again.length} after ${seconds(last(again))}`,
        kept: again.length === guests.length,
      },
      {
        promise: 'in the crowd, a hypervisor takes less than 50 MiB over its guest’s memory',
        measured: `${digits(Math.max(...overhead) / MIB)} MiB at the most (PSS)`,
        kept: Math.max(...overhead) < 50 * MIB,
      },
    ],
    tables: [
      {
        title: 'Until the answer: from apply acknowledged, and from the start of the agent after a power cut',
        columns: ['', 'guests', 'median', 'last', 'after the cut, median', 'last'],
        rows: KINDS.map((kind) => {
          const [first, second] = [timesOf(started, kind), timesOf(again, kind)];
          return [
            kind,
            String(first.length),
            ...[median(first), Math.max(...first), median(second), Math.max(...second)].map(seconds),
          ];
        }),
      },
      {
        title: 'What it takes while all of it idles',
        columns: ['', 'processes', 'memory (PSS)', 'processor'],
        rows: [
          ['everything', String(pids.length), inMB(pss), percent(sum([...shares.values()]))],
          ['skerry alone', '1', inMB(pssBytes(skerryPid)), percent(shares.get(skerryPid) ?? 0)],
          [
            'the ten VMs',
            '10',
            inMB(sum(machines.map(pssBytes))),
            percent(sum(machines.map((pid) => shares.get(pid) ?? 0))),
          ],
        ],
      },
    ],
    notes: [
      'Once, not in turns. VMs of 128 MiB, with software emulation where there is no KVM: what they take while idling is their emulated clock.',
    ],
    samples: {
      answered: started.map(({ answeredMs }) => answeredMs),
      again: again.map(({ answeredMs }) => answeredMs),
      overhead,
    },
  };
}
