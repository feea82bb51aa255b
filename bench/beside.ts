/** A quick look for people: how soon a guest of each kind is up here, and how soon by hand with the kind's own engine. */
import { benchContainer } from './container.ts';
import { benchMachine } from './machine.ts';
import { benchPebble } from './pebble.ts';
import type { Finding } from './report.ts';
import type { Skerry } from './skerry.ts';
import { digits, median } from './statistics.ts';
import { benchSystem } from './system.ts';

const RUNS = 3;
/** It boots for seconds, several times. */
const MACHINE_RUNS = 1;

export async function benchBeside(skerry: Skerry): Promise<Finding> {
  const container = await benchContainer(skerry, RUNS);
  const system = await benchSystem(skerry, RUNS);
  const pebble = await benchPebble(skerry, RUNS);
  const machine = await benchMachine(skerry, MACHINE_RUNS, false);
  const ms = (finding: Finding, name: string) => `${digits(median(finding.samples[name]!))} ms`;
  return {
    id: 'beside',
    title: 'A guest of each kind, and the same by hand',
    verdicts: [],
    tables: [
      {
        title: `Medians of ${RUNS} (VM: ${MACHINE_RUNS}), in turns, each from apply acknowledged`,
        columns: ['', 'Skerry', 'by hand', ''],
        rows: [
          ['container runs', ms(container, 'skerry'), ms(container, 'docker'), 'docker run'],
          ['', '', ms(container, 'ctr'), 'ctr run, without network'],
          ['system container runs', ms(system, 'skerry'), ms(system, 'hand'), 'lxc-start'],
          ['unikernel answers', ms(pebble, 'skerry'), ms(pebble, 'hand'), 'qemu, tap made before'],
          ['virtual machine answers', ms(machine, 'skerry'), ms(machine, 'alike'), 'qemu, same machine'],
          ['', '', ms(machine, 'plain'), 'qemu, plain command line'],
        ],
      },
    ],
    notes: ['`make bench` measures with more runs, and beside more.'],
    samples: {},
  };
}
