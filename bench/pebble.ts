/** How soon a function in its own kernel answers: through Skerry, and by QEMU started by hand, in turns. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Instance } from '@skerry/model';
import { qemuByHand } from './peers/qemu.ts';
import type { Finding } from './report.ts';
import { firstAnswer, manifestOf, type Skerry } from './skerry.ts';
import { DURATION_COLUMNS, digits, durationRow, median, takingTurns } from './statistics.ts';

const sinceOrigin = (ns: bigint): number => Number(ns) / 1e6 - performance.timeOrigin;

/** When the guest's parts came to be, by performance.now(), from the files that its start writes. */
function milestones(skerry: Skerry, { metadata }: Instance) {
  const { dataDir, id } = skerry.program;
  const folder = statSync(join(dataDir, 'guests', metadata.uid), { bigint: true });
  const pid = statSync(join('/run/skerry', id, 'g', metadata.uid, 'pid'), { bigint: true });
  return { createdMs: sinceOrigin(folder.birthtimeNs), qemuMs: sinceOrigin(pid.mtimeNs) };
}

function functionPath(skerry: Skerry, digest: string): string {
  const hex = digest.replace(/^sha256:/, '');
  const images = join(skerry.program.dataDir, 'images');
  const found = readdirSync(images, { recursive: true, encoding: 'utf8' }).find(
    (name) =>
      name.endsWith(hex) &&
      statSync(join(images, name)).isFile() &&
      readFileSync(join(images, name)).length > 0,
  );
  if (!found) throw new Error('the function has no file');
  return join(images, found);
}

const STEPS = [
  'acknowledged → its address, firewall and tap are there, its folder is made',
  'folder → record durable, limits, supervisor, QEMU started',
  'QEMU started → the API shows it running',
  'running → first answer',
] as const;

export async function benchPebble(skerry: Skerry, runs: number): Promise<Finding> {
  const image = await skerry.client.image.show({ project: 'default', name: 'thermo' });
  const hand = await qemuByHand(functionPath(skerry, image.status.digest));
  const fromQemu: number[] = [];
  const steps = STEPS.map(() => [] as number[]);
  try {
    const samples = await takingTurns(runs, {
      skerry: async (run) => {
        const name = `p${run}`;
        const known = skerry.seen(`${name}-0`, ({ spec }) => spec.network !== undefined);
        const running = skerry.seen(`${name}-0`, ({ status }) => status.phase === 'running');
        const acknowledged = skerry.apply(manifestOf({ name, runtime: 'unikernel', cpus: 1 }));
        const answeredMs = await firstAnswer((await known).instance.spec.network!.address);
        const [acknowledgedMs, seen] = await Promise.all([acknowledged, running]);
        const { createdMs, qemuMs } = milestones(skerry, seen.instance);
        if (run > 0) {
          fromQemu.push(answeredMs - qemuMs);
          const marks = [acknowledgedMs, createdMs, qemuMs, seen.atMs, answeredMs];
          for (const [at, samplesOfStep] of steps.entries()) samplesOfStep.push(marks[at + 1]! - marks[at]!);
        }
        await skerry.remove(name);
        return answeredMs - acknowledgedMs;
      },
      hand: () => hand.start(),
    });
    const ratio = median(samples.skerry) / median(samples.hand);
    const answerMs = median(fromQemu);
    return {
      id: 'pebble',
      title: 'A function answers',
      verdicts: [
        {
          promise: 'pebble from apply acknowledged to its first HTTP answer, at most 1.3 times QEMU by hand',
          measured: `${digits(ratio)} times`,
          kept: ratio <= 1.3,
        },
        {
          promise: "first HTTP answer within 80 ms of QEMU's start",
          measured: `${digits(answerMs)} ms in the median`,
          kept: answerMs <= 80,
        },
      ],
      tables: [
        {
          title: 'Time until the first HTTP answer',
          columns: DURATION_COLUMNS,
          rows: [
            durationRow('skerry, from apply acknowledged', samples.skerry),
            durationRow("skerry, from QEMU's start", fromQemu),
            durationRow('QEMU by hand, tap made beforehand', samples.hand),
          ],
        },
        {
          title: 'Step by step',
          columns: DURATION_COLUMNS,
          rows: STEPS.map((step, at) => durationRow(step, steps[at]!)),
        },
      ],
      notes: [
        `Both are asked in the same way: one request waits until the guest is on the network, then a new one goes out every 4 ms. QEMU by hand has its bridge and tap ready; Skerry makes address, tap, firewall and limits within the time, keeps them durably, and runs QEMU in a sandbox, as an unprivileged user, under a supervisor. A negative step ended before the one before it: the API tells of "running" after the guest may have answered.`,
      ],
      samples: {
        ...samples,
        fromQemu,
        ...Object.fromEntries(steps.map((values, at) => [`step${at + 1}`, values])),
      },
    };
  } finally {
    await hand.end();
  }
}
