/** How soon a system container runs and answers: through Skerry, and by `lxc-start`, in turns. */
import { systemByHand } from './peers/lxc.ts';
import type { Finding } from './report.ts';
import { firstAnswer, manifestOf, type Skerry } from './skerry.ts';
import { DURATION_COLUMNS, digits, durationRow, median, takingTurns } from './statistics.ts';

const EVERY_MS = 2;

export async function benchSystem(skerry: Skerry, runs: number): Promise<Finding> {
  const hand = await systemByHand();
  const answered: number[] = [];
  const handAnswered: number[] = [];
  try {
    const samples = await takingTurns(runs, {
      skerry: async (run) => {
        const name = `s${run}`;
        const running = skerry.seen(`${name}-0`, ({ status }) => status.phase === 'running');
        const acknowledgedMs = await skerry.apply(
          manifestOf({ name, runtime: 'system', cpus: 1 }, { ports: false }),
        );
        const { atMs, instance } = await running;
        // Not asked before: the host would look for it once a second until it is there.
        const answeredMs = await firstAnswer(instance.spec.network!.address, '/healthz', EVERY_MS);
        if (run > 0) answered.push(answeredMs - acknowledgedMs);
        await skerry.remove(name);
        return Math.max(0, atMs - acknowledgedMs);
      },
      hand: async (run) => {
        const { runningMs, answeredMs } = await hand.start(`h${run}`);
        if (run > 0) handAnswered.push(answeredMs);
        return runningMs;
      },
    });
    const ratio = median(samples.skerry) / median(samples.hand);
    return {
      id: 'system',
      title: 'A system container starts',
      verdicts: [
        {
          promise: 'system container from apply acknowledged to its init running, at most 2 times lxc-start',
          measured: `${digits(ratio)} times`,
          kept: ratio <= 2,
        },
      ],
      tables: [
        {
          title: 'Time until its init runs, and until its first HTTP answer',
          columns: DURATION_COLUMNS,
          rows: [
            durationRow('skerry, from apply acknowledged, runs', samples.skerry),
            durationRow('lxc-start --daemon, runs', samples.hand),
            durationRow('skerry, answers', answered),
            durationRow('lxc-start, answers', handAnswered),
          ],
        },
      ],
      notes: [
        'Both have mapped ids, an interface in a bridge, a seccomp filter, limits of memory and processes. By hand the root file system is unpacked and owned by the mapped ids beforehand; Skerry lays a fresh layer over a shared image for each guest, within the time.',
      ],
      samples: { ...samples, answered, handAnswered },
    };
  } finally {
    await hand.end();
  }
}
