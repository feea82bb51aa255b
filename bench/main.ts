/** Runs the benchmarks, or those that are named, prints what they found and keeps it in bench/results/. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../tests/support/program.ts';
import { benchAgents } from './agents.ts';
import { benchApi } from './api.ts';
import { benchBeside } from './beside.ts';
import { benchBroker } from './broker.ts';
import { benchContainer } from './container.ts';
import { benchCrowd, benchForty, benchIdle } from './crowd.ts';
import { benchDockerEngine } from './docker-engine.ts';
import { benchGateway } from './gateway.ts';
import { benchHandover } from './handover.ts';
import { benchMachine } from './machine.ts';
import { benchMixed } from './mixed.ts';
import { benchPebble } from './pebble.ts';
import { benchPlacement } from './placement.ts';
import { asMarkdown, asText, type Finding, pressure, surroundings } from './report.ts';
import { benchSeries } from './series.ts';
import { benchSites } from './sites.ts';
import { type Skerry, startSkerry } from './skerry.ts';
import { benchStore } from './store.ts';
import { benchSystem } from './system.ts';

const RUNS = Math.max(1, Number(process.env.BENCH_RUNS ?? 12));

const withSkerry =
  (bench: (skerry: Skerry, runs: number) => Promise<Finding>) =>
  async (runs: number): Promise<Finding> => {
    const skerry = await startSkerry();
    try {
      return await bench(skerry, runs);
    } finally {
      await skerry.purge();
    }
  };

const BENCHES: Readonly<Record<string, (runs: number) => Promise<Finding>>> = {
  container: withSkerry(benchContainer),
  pebble: withSkerry(benchPebble),
  forty: withSkerry(benchForty),
  crowd: withSkerry(benchCrowd),
  idle: withSkerry(benchIdle),
  machine: withSkerry(benchMachine),
  system: withSkerry(benchSystem),
  'docker-engine': benchDockerEngine,
  mixed: benchMixed,
  gateway: withSkerry(benchGateway),
  handover: benchHandover,
  api: withSkerry(benchApi),
  store: benchStore,
  series: benchSeries,
  placement: benchPlacement,
  sites: benchSites,
  agents: benchAgents,
  broker: benchBroker,
};

/** Run only where they are named. */
const ON_REQUEST: typeof BENCHES = { beside: withSkerry(benchBeside) };

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !(name in BENCHES || name in ON_REQUEST));
if (unknown.length > 0) {
  console.error(
    `no such benchmark: ${unknown.join(', ')}; there are: ${Object.keys({ ...BENCHES, ...ON_REQUEST }).join(', ')}, fuzz`,
  );
  process.exit(2);
}
const where = surroundings();
const findings: Finding[] = [];
const begun = performance.now();
let failed = false;
for (const name of asked.length > 0 ? asked : Object.keys(BENCHES)) {
  try {
    const finding = await (BENCHES[name] ?? ON_REQUEST[name])!(RUNS);
    findings.push(finding);
    console.log(asText(finding));
  } catch (error) {
    failed = true;
    console.error(`\n${name} could not be measured:`, error);
  }
}
const waited = pressure();
console.log(
  `\n${findings.length} benchmarks in ${Math.round((performance.now() - begun) / 1000)} s, ${RUNS} runs each` +
    (waited === undefined
      ? ''
      : `; in the last minute ${waited} % of the time something waited for a processor`),
);
const verdicts = findings.flatMap((finding) => finding.verdicts);
if (verdicts.length > 0)
  console.log(`${verdicts.filter(({ kept }) => kept).length} of ${verdicts.length} promises kept`);
// Only a whole and full run is worth keeping.
if (asked.length === 0 && RUNS >= 10 && !failed) {
  const folder = join(ROOT, 'bench/results');
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    join(folder, 'results.json'),
    `${JSON.stringify({ where, runs: RUNS, findings }, null, 1)}\n`,
  );
  writeFileSync(join(folder, 'results.md'), asMarkdown(findings, where));
  console.log('written to bench/results/');
}
process.exit(failed ? 1 : 0);
