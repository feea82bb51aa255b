/** What of the unikernel runtime works on this node, and what to do where it does not. */
import { cgroupMode, run } from '@skerry/host';
import { asSkerryError, type ProbeFinding } from '@skerry/model';
import type { Acceleration } from './acceleration.ts';
import { findProgram, lacksInstruction } from './families/needs.ts';
import { QEMU } from './supervise.ts';

export async function probeQemu(
  acceleration: () => Promise<Acceleration>,
  signal: AbortSignal,
  programFolders?: readonly string[],
): Promise<ProbeFinding[]> {
  try {
    const { stdout } = await run(QEMU, ['--version'], { signal, timeoutMs: 5000 });
    const version = /version (\S+)/.exec(stdout)?.[1] ?? 'of unknown version';
    const found = await acceleration();
    return [
      {
        name: 'unikernel',
        ok: true,
        level: 'ok',
        text: `QEMU ${version}, limits by control groups (${cgroupMode()})`,
      },
      found.kind === 'kvm'
        ? { name: 'unikernel.acceleration', ok: true, level: 'ok', text: 'kvm: a guest was started with it' }
        : {
            name: 'unikernel.acceleration',
            ok: true,
            level: 'degraded',
            text: `software emulation (tcg): ${found.reason}`,
            ...(found.remedy ? { remedy: found.remedy } : {}),
          },
      ...(await families(found, programFolders)),
    ];
  } catch (error) {
    if (signal.aborted) throw error;
    return [
      {
        name: 'unikernel',
        ok: false,
        level: 'missing',
        text: asSkerryError(error).message,
        remedy: 'apt-get install qemu-system-x86',
      },
    ];
  }
}

interface Family {
  readonly name: string;
  /** What starts, as the first half of a sentence. */
  readonly starts: string;
  /** Builds of it that this node does not start, each with its reason. */
  readonly not?: readonly string[];
  readonly remedy?: string;
}

/** One finding for each family that is recognised. A node that lacks what few images need is none that does not work. */
async function families(
  acceleration: Acceleration,
  programFolders?: readonly string[],
): Promise<ProbeFinding[]> {
  const instructions: string[] = [];
  for (const name of ['rdrand', 'rdseed'] as const)
    if (await lacksInstruction(name, acceleration)) instructions.push(name.toUpperCase());
  const all: Family[] = [
    { name: 'pebble', starts: 'functions and kernels that take its words' },
    {
      name: 'unikraft',
      starts: 'builds for QEMU',
      not: instructions.map((one) => `those with libukrandom (guests' processors lack ${one})`),
      remedy: 'Use a node with KVM and a processor that has it, or build them without libukrandom.',
    },
    solo5(acceleration, programFolders),
    { name: 'nanos', starts: 'disks of `ops image create`' },
    { name: 'osv', starts: 'disks, and loader.elf with the program inside' },
    { name: 'hermit', starts: 'images that hold the loader' },
    { name: 'linux', starts: 'kernels, also memory testers and boot loaders that pose as one' },
    { name: 'others', starts: 'rumprun, IncludeOS, Mewz, kernels with a PVH note or a multiboot 1 header' },
  ];
  return all.map(({ name, starts, not = [], remedy }) => ({
    name: `unikernel.${name}`,
    ok: true,
    level: not.length === 0 ? 'ok' : 'degraded',
    text: not.length === 0 ? starts : `${starts}; not ${not.join(', nor ')}`,
    ...(not.length === 0 || remedy === undefined ? {} : { remedy }),
  }));
}

function solo5(acceleration: Acceleration, programFolders?: readonly string[]): Family {
  const tenders = ['spt', 'hvt'].map((target) => ({
    target,
    found: findProgram(`solo5-${target}`, programFolders) !== undefined,
  }));
  const absent = tenders.filter(({ found }) => !found).map(({ target }) => target);
  const noKvm = !absent.includes('hvt') && acceleration.kind !== 'kvm';
  const here = ['virtio', ...tenders.filter(({ found }) => found).map(({ target }) => target)].filter(
    (target) => target !== 'hvt' || !noKvm,
  );
  return {
    name: 'solo5',
    starts: `builds of MirageOS and Solo5 for ${here.join(', ')}`,
    not: [
      ...absent.map((target) => `those for ${target} (solo5-${target} is not installed)`),
      ...(noKvm ? ['those for hvt (it needs KVM)'] : []),
    ],
    remedy:
      absent.length === 0
        ? 'Use a node with KVM, or build for spt or virtio (mirage configure -t virtio).'
        : `Build ${absent.map((target) => `solo5-${target}`).join(' and ')} from Solo5's sources into /usr/local/bin (Debian has no package), or the image for virtio (mirage configure -t virtio).`,
  };
}
