/** How soon a container runs: `skerry apply` beside `ctr run` and `docker run`, same image, same machine, in turns. */
import { startEngines } from './peers/engines.ts';
import type { Finding } from './report.ts';
import { HELLO, manifestOf, type Skerry } from './skerry.ts';
import { DURATION_COLUMNS, digits, durationRow, median, takingTurns } from './statistics.ts';

export async function benchContainer(skerry: Skerry, runs: number): Promise<Finding> {
  const engines = await startEngines(HELLO, 'hello:1');
  const whole: number[] = [];
  try {
    const samples = await takingTurns(runs, {
      skerry: async (run) => {
        const name = `c${run}`;
        const begunMs = performance.now();
        const running = skerry.seen(`${name}-0`, ({ status }) => status.phase === 'running');
        const acknowledgedMs = await skerry.apply(manifestOf({ name, runtime: 'container', cpus: 1 }));
        const { atMs } = await running;
        if (run > 0) whole.push(atMs - begunMs);
        await skerry.remove(name);
        return Math.max(0, atMs - acknowledgedMs);
      },
      ctr: async (run) => {
        const tookMs = await engines.ctrRun(`c${run}`);
        await engines.ctrRemove(`c${run}`);
        return tookMs;
      },
      docker: async (run) => {
        const tookMs = await engines.dockerRun(`c${run}`, 'bridge');
        await engines.dockerRemove(`c${run}`);
        return tookMs;
      },
      dockerNone: async (run) => {
        const tookMs = await engines.dockerRun(`n${run}`, 'none');
        await engines.dockerRemove(`n${run}`);
        return tookMs;
      },
    });
    const ctrRatio = median(samples.skerry) / median(samples.ctr);
    const dockerRatio = median(samples.docker) / median(samples.skerry);
    return {
      id: 'container',
      title: 'A container starts',
      verdicts: [
        {
          promise: 'container from apply acknowledged to its process running, no slower than ctr run',
          measured: `${digits(ctrRatio)} times its time`,
          kept: ctrRatio <= 1,
        },
        {
          promise: 'at least 2.5 times faster than docker run',
          measured: `${digits(dockerRatio)} times faster`,
          kept: dockerRatio >= 2.5,
        },
      ],
      tables: [
        {
          title: 'Time until the process runs',
          columns: DURATION_COLUMNS,
          rows: [
            durationRow('skerry, from apply acknowledged', samples.skerry),
            durationRow('skerry, from apply sent', whole),
            durationRow('ctr run --detach', samples.ctr),
            durationRow('docker run --detach', samples.docker),
            durationRow('docker run --detach --network none', samples.dockerNone),
          ],
        },
      ],
      notes: [
        "Skerry's time ends when a watcher of the API hears of the running process, and has an address, a bridge port, a firewall, limits and a kept log in it, as with docker run; ctr run has no network, no seccomp filter, no limits and keeps no log.",
      ],
      samples: { ...samples, whole },
    };
  } finally {
    await engines.end();
  }
}
