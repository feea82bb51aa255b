/** How soon a virtual machine answers: through Skerry, and by QEMU started by hand from the same disk, in turns. */
import { machineByHand, type Words } from './peers/machine.ts';
import { hypervisorBytes, ownBytes, parentOf, pssBytes } from './processes.ts';
import type { Finding } from './report.ts';
import { firstAnswer, manifestOf, type Skerry } from './skerry.ts';
import { DURATION_COLUMNS, digits, durationRow, median, takingTurns } from './statistics.ts';

const MIB = 1024 * 1024;
const EVERY_MS = 20;
/** What each choice gains is looked at with fewer runs: each takes seconds. */
const CHOICES: readonly { readonly words: Words; readonly text: string }[] = [
  { words: 'q35', text: 'with all that q35 has: SATA, SMBus, HPET, VMware port, SMM' },
  { words: 'vga', text: 'with a display adapter' },
  { words: 'tb-usual', text: "with QEMU's usual buffer for translations (up to 1 GiB)" },
];
const CHOICE_RUNS = 3;

/** `withChoices`: also what each choice of machine and devices gains. */
export async function benchMachine(skerry: Skerry, runs: number, withChoices = true): Promise<Finding> {
  const hand = await machineByHand();
  const qemu: number[] = [];
  const own: number[] = [];
  const supervisor: number[] = [];
  const whole: number[] = [];
  const plainWhole: number[] = [];
  try {
    const samples = await takingTurns(runs, {
      skerry: async (run) => {
        const name = `m${run}`;
        const known = skerry.seen(`${name}-0`, ({ spec }) => spec.network !== undefined);
        const acknowledged = skerry.apply(manifestOf({ name, runtime: 'vm', cpus: 1 }));
        const { instance } = await known;
        const answeredMs = await firstAnswer(instance.spec.network!.address, '/healthz', EVERY_MS);
        const running = await skerry.seen(`${name}-0`, ({ status }) => status.pid !== undefined);
        const pid = running.instance.status.pid!;
        if (run > 0) {
          qemu.push(hypervisorBytes(pid));
          own.push(ownBytes(pid));
          supervisor.push(pssBytes(parentOf(pid)));
          whole.push(pssBytes(pid) + pssBytes(parentOf(pid)));
        }
        await skerry.remove(name);
        return answeredMs - (await acknowledged);
      },
      alike: async () => (await hand.start('alike')).ms,
      plain: async (run) => {
        const started = await hand.start('plain');
        if (run > 0) plainWhole.push(started.pssBytes);
        return started.ms;
      },
    });
    const choices: { text: string; samples: number[] }[] = [];
    for (const { words, text } of withChoices ? CHOICES : []) {
      const taken: number[] = [];
      for (let run = 0; run < Math.min(runs, CHOICE_RUNS); run++) taken.push((await hand.start(words)).ms);
      choices.push({ text, samples: taken });
    }
    const ratio = median(samples.skerry) / median(samples.alike);
    const gain = median(samples.plain) / median(samples.skerry);
    const ownMiB = (median(own) + median(supervisor)) / MIB;
    const mib = (bytes: readonly number[]) => `${digits(median(bytes) / MIB)} MiB`;
    return {
      id: 'machine',
      title: 'A virtual machine answers',
      verdicts: [
        {
          promise:
            'VM from apply acknowledged to its first HTTP answer, at most 1.1 times QEMU by hand with the same disk and machine',
          measured: `${digits(ratio)} times`,
          kept: ratio <= 1.1,
        },
        {
          promise: 'sooner than a plain command line of QEMU',
          measured: `${digits(gain)} times faster`,
          kept: gain >= 1,
        },
        {
          promise: 'the hypervisor of a VM takes less than 50 MiB over its guest’s memory',
          measured: `${digits(ownMiB)} MiB of its own`,
          kept: ownMiB < 50,
        },
      ],
      tables: [
        {
          title: 'Time until the first HTTP answer (software emulation where there is no KVM)',
          columns: DURATION_COLUMNS,
          rows: [
            durationRow('skerry, from apply acknowledged', samples.skerry),
            durationRow('QEMU by hand, same machine and devices', samples.alike),
            durationRow('QEMU by hand, plain command line', samples.plain),
            ...choices.map((choice) => durationRow(`same, ${choice.text}`, choice.samples)),
          ],
        },
        {
          title: 'Memory of the hypervisor, without the 128 MiB of its guest',
          columns: ['', 'median'],
          rows: [
            ['QEMU, its own (private)', mib(own)],
            ['QEMU, with its share of program files (PSS of a single one)', mib(qemu)],
            ['supervisor (PSS)', mib(supervisor)],
            ['all with the guest, right after its answer: skerry (PSS)', mib(whole)],
            ['all with the guest, right after its answer: plain command line (PSS)', mib(plainWhole)],
          ],
        },
      ],
      notes: [
        'QEMU by hand has its bridge, tap, DHCP server and overlay ready before its time begins. The plain command line is `qemu-system-x86_64 -m 128M -drive if=virtio -nic tap,model=virtio-net-pci`: machine pc, VGA, the default processor, and, without KVM, as much memory for translations as they take (up to 1 GiB), where Skerry gives 24 MiB: that is what it gains in time and costs in memory.',
      ],
      samples: { ...samples, own, qemu, supervisor, whole, plainWhole },
    };
  } finally {
    await hand.end();
  }
}
