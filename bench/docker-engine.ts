/** How soon a container runs where Skerry drives a Docker engine: beside `docker run` on the same engine, in turns. */
import { startEngines } from './peers/engines.ts';
import type { Finding } from './report.ts';
import { HELLO, manifestOf, startSkerry } from './skerry.ts';
import { DURATION_COLUMNS, digits, durationRow, median, takingTurns } from './statistics.ts';

export async function benchDockerEngine(runs: number): Promise<Finding> {
  const engines = await startEngines(HELLO, 'hello:1');
  try {
    const skerry = await startSkerry(['--engine', `docker:${engines.dockerSocket}`]);
    try {
      const samples = await takingTurns(runs, {
        skerry: async (run) => {
          const name = `d${run}`;
          const running = skerry.seen(`${name}-0`, ({ status }) => status.phase === 'running');
          const acknowledgedMs = await skerry.apply(manifestOf({ name, runtime: 'container', cpus: 1 }));
          const { atMs } = await running;
          await skerry.remove(name);
          return Math.max(0, atMs - acknowledgedMs);
        },
        docker: async (run) => {
          const limits = ['--memory', '32m', '--cpus', '1'];
          const tookMs = await engines.dockerRun(`p${run}`, 'bridge', limits);
          await engines.dockerRemove(`p${run}`);
          return tookMs;
        },
      });
      const ratio = median(samples.skerry) / median(samples.docker);
      return {
        id: 'docker-engine',
        title: 'A container starts on a Docker engine',
        verdicts: [
          {
            promise:
              'on a Docker engine, from apply acknowledged to its process running, at most 1.1 times docker run',
            measured: `${digits(ratio)} times`,
            kept: ratio <= 1.1,
          },
        ],
        tables: [
          {
            title: 'Time until the process runs, one engine for both',
            columns: DURATION_COLUMNS,
            rows: [
              durationRow('skerry, from apply acknowledged', samples.skerry),
              durationRow('docker run --detach, same limits', samples.docker),
            ],
          },
        ],
        notes: [
          "Both have limits of memory and processors and a network: docker run Docker's bridge, Skerry its own, with its firewall.",
        ],
        samples,
      };
    } finally {
      await skerry.purge();
    }
  } finally {
    await engines.end();
  }
}
