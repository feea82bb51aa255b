/**
 * How soon a virtual machine answers: through Skerry, and by QEMU started by hand from the same disk, in turns. Once as the
 * disk boots by itself (firmware, loader, kernel), once with its kernel loaded directly.
 */
import { statSync } from 'node:fs';
import { type HandMachine, machineByHand, type Words } from './peers/machine.ts';
import { cpuMs, hypervisorBytes, ownBytes, parentOf, pssBytes } from './processes.ts';
import type { Finding } from './report.ts';
import {
  DIRECT_BOOT,
  firstAnswer,
  HARBOUR_INITRD,
  HARBOUR_KERNEL,
  manifestOf,
  type Skerry,
} from './skerry.ts';
import { DURATION_COLUMNS, digits, durationRow, median, takingTurns } from './statistics.ts';

const MIB = 1024 * 1024;
const EVERY_MS = 20;
/** What each choice gains, and beside what it is seen. */
const CHOICES: Readonly<Record<string, Words>> = {
  'as Skerry has it': {},
  'with all that q35 has: SATA, SMBus, HPET, VMware port, SMM': { wholeBoard: true },
  'with a display adapter': { display: true },
  "with QEMU's usual buffer for translations (up to 1 GiB)": { usualBuffer: true },
  "with QEMU's usual processor (qemu64)": { oldProcessor: true },
  'kernel loaded directly': { direct: true },
  "kernel loaded directly, QEMU's usual buffer": { direct: true, usualBuffer: true },
  "kernel loaded directly, QEMU's usual processor": { direct: true, oldProcessor: true },
  'kernel loaded directly, qboot in place of SeaBIOS': { direct: true, qboot: true },
};
/** Fewer runs: each takes seconds. */
const CHOICE_RUNS = 3;

/** What is read of each guest right after its answer. */
class Costs {
  readonly own: number[] = [];
  readonly withFiles: number[] = [];
  readonly supervisor: number[] = [];
  readonly whole: number[] = [];
  readonly cpuMs: number[] = [];

  add(pid: number): void {
    const parent = parentOf(pid);
    this.cpuMs.push(cpuMs(pid));
    this.own.push(ownBytes(pid) + ownBytes(parent));
    this.withFiles.push(hypervisorBytes(pid));
    this.supervisor.push(pssBytes(parent));
    this.whole.push(pssBytes(pid) + pssBytes(parent));
  }
}

async function choicesOf(hand: HandMachine, runs: number) {
  const processor: Record<string, number[]> = {};
  const contenders = Object.entries(CHOICES).map(([text, words]) => {
    const taken: number[] = [];
    processor[text] = taken;
    const start = async (run: number) => {
      const started = await hand.start(words);
      if (run > 0) taken.push(started.cpuMs);
      return started.ms;
    };
    return [text, start] as const;
  });
  const times = await takingTurns(Math.min(runs, CHOICE_RUNS), Object.fromEntries(contenders));
  return { times, processor };
}

/** `withChoices`: also what each choice of machine and devices gains. */
export async function benchMachine(skerry: Skerry, runs: number, withChoices = true): Promise<Finding> {
  await skerry.program.run('image', 'import', HARBOUR_KERNEL, '--name', 'harbour-kernel:1');
  await skerry.program.run('image', 'import', HARBOUR_INITRD, '--name', 'harbour-initrd:1');
  const hand = await machineByHand();
  const byDisk = new Costs();
  const direct = new Costs();
  const plainWhole: number[] = [];
  const byHandMs: Record<string, number[]> = { alike: [], directly: [], plain: [] };
  const machine = async (name: string, costs: Costs | undefined, vm?: object) => {
    const known = skerry.seen(`${name}-0`, ({ spec }) => spec.network !== undefined);
    const acknowledged = skerry.apply(manifestOf({ name, runtime: 'vm', cpus: 1 }, vm ? { vm } : {}));
    const { instance } = await known;
    const answeredMs = await firstAnswer(instance.spec.network!.address, '/healthz', EVERY_MS);
    const running = await skerry.seen(`${name}-0`, ({ status }) => status.pid !== undefined);
    costs?.add(running.instance.status.pid!);
    await skerry.remove(name);
    return answeredMs - (await acknowledged);
  };
  const byHand = (name: string, words: Words) => async (run: number) => {
    const started = await hand.start(words);
    if (run > 0) byHandMs[name]!.push(started.cpuMs);
    if (run > 0 && words.plain) plainWhole.push(started.pssBytes);
    return started.ms;
  };
  try {
    const samples = await takingTurns(runs, {
      skerry: (run) => machine(`m${run}`, run > 0 ? byDisk : undefined),
      skerryDirect: (run) => machine(`d${run}`, run > 0 ? direct : undefined, DIRECT_BOOT),
      alike: byHand('alike', {}),
      directly: byHand('directly', { direct: true }),
      plain: byHand('plain', { plain: true }),
    });
    const choices = withChoices ? await choicesOf(hand, runs) : { times: {}, processor: {} };
    const ratio = median(samples.skerry) / median(samples.alike);
    const directRatio = median(samples.skerryDirect) / median(samples.directly);
    const gain = median(samples.plain) / median(samples.skerryDirect);
    const diskGain = median(samples.plain) / median(samples.skerry);
    const ownMiB = median(byDisk.own) / MIB;
    // QEMU keeps a kernel that it loads, as it is packed, for the next reset: that is the guest's, as its disk is
    const kernelMiB = statSync(HARBOUR_KERNEL).size / MIB;
    const directMiB = median(direct.own) / MIB;
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
          promise: 'the same where both load the kernel directly',
          measured: `${digits(directRatio)} times`,
          kept: directRatio <= 1.1,
        },
        {
          promise: 'sooner than a plain command line of QEMU, by a kernel that is loaded directly',
          measured: `${digits(gain)} times faster; ${digits(diskGain)} times where the disk boots by itself`,
          kept: gain >= 1,
        },
        {
          promise: 'the hypervisor of a VM takes less than 50 MiB over its guest’s memory',
          // what is there once for all guests is no cost of one: see `ownBytes`
          measured: `${digits(ownMiB)} MiB of its own (${mib(byDisk.withFiles)} with all of QEMU's program files); with a kernel loaded directly ${digits(directMiB)} MiB, of which ${digits(kernelMiB)} MiB are the kernel`,
          kept: ownMiB < 50 && directMiB - kernelMiB < 50,
        },
      ],
      tables: [
        {
          title: 'Time until the first HTTP answer (software emulation where there is no KVM)',
          columns: DURATION_COLUMNS,
          rows: [
            durationRow('skerry, from apply acknowledged', samples.skerry),
            durationRow('skerry, kernel loaded directly', samples.skerryDirect),
            durationRow('QEMU by hand, same machine and devices', samples.alike),
            durationRow('QEMU by hand, same, kernel loaded directly', samples.directly),
            durationRow('QEMU by hand, plain command line', samples.plain),
          ],
        },
        {
          title: 'Processor time of QEMU until then, which other load changes less',
          columns: DURATION_COLUMNS,
          rows: [
            durationRow('skerry', byDisk.cpuMs),
            durationRow('skerry, kernel loaded directly', direct.cpuMs),
            durationRow('QEMU by hand, same machine and devices', byHandMs.alike!),
            durationRow('QEMU by hand, same, kernel loaded directly', byHandMs.directly!),
            durationRow('QEMU by hand, plain command line', byHandMs.plain!),
          ],
        },
        {
          title: 'What each choice gains: QEMU by hand, time until the answer',
          columns: DURATION_COLUMNS,
          rows: Object.entries(choices.times).map(([text, taken]) => durationRow(text, taken)),
        },
        {
          title: 'What each choice gains: processor time until the answer',
          columns: DURATION_COLUMNS,
          rows: Object.entries(choices.processor).map(([text, taken]) => durationRow(text, taken)),
        },
        {
          title: 'Memory of the hypervisor, without the 128 MiB of its guest',
          columns: ['', 'median'],
          rows: [
            ['QEMU and its supervisor, their own: what one guest more costs', mib(byDisk.own)],
            ['… with the kernel loaded directly', mib(direct.own)],
            [
              'QEMU with all its program files, which all guests share (PSS of a single one)',
              mib(byDisk.withFiles),
            ],
            ['supervisor (PSS)', mib(byDisk.supervisor)],
            ['all with the guest, right after its answer: skerry (PSS)', mib(byDisk.whole)],
            ['all with the guest, right after its answer: plain command line (PSS)', mib(plainWhole)],
          ],
        },
      ],
      notes: [
        'QEMU by hand has its bridge, tap, DHCP server and overlay ready before its time begins. The plain command line is `qemu-system-x86_64 -m 128M -drive if=virtio -nic tap,model=virtio-net-pci`: machine pc, VGA, the default processor, and, without KVM, as much memory for translations as they take (up to 1 GiB), where Skerry gives 24 MiB.',
        'A kernel that is loaded directly (`spec.vm.boot`) is the disk’s own, with its initramfs and the words of its boot loader: what is saved is the way of 16 MB through the calls of a BIOS. Beside that time it weighs more that Skerry’s guest has a disk with cloud-init’s data, which the one by hand has not: 0.2 s of processor time.',
      ],
      samples: { ...samples, own: byDisk.own, ownDirect: direct.own, plainWhole },
    };
  } finally {
    await hand.end();
  }
}
