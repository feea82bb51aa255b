/** What an image needs of its node, and whether it is there: programs, acceleration, instructions of the guests' processor. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { cpuHas, HOST_ENV, run } from '@skerry/host';
import type { Need } from '@skerry/images';
import type { Acceleration } from '../acceleration.ts';
import { QEMU, QEMU_ARM64 } from '../supervise.ts';

const LIMIT_MS = 10_000;

/** Where programs are looked for that Debian has no package of. */
export const PROGRAM_FOLDERS: readonly string[] = HOST_ENV.PATH!.split(':');

export const findProgram = (name: string, folders = PROGRAM_FOLDERS): string | undefined =>
  folders.map((folder) => join(folder, name)).find((path) => existsSync(path));

/** Flags of the processor that an emulated guest gets (QMP query-cpu-model-expansion), asked once for each QEMU that is installed. */
const emulated = new Map<number, Promise<Readonly<Record<string, unknown>>>>();

/** Under a signal of its own: whoever asks next waits for the same answer. */
async function emulatedFlags(): Promise<Readonly<Record<string, unknown>>> {
  const signal = AbortSignal.timeout(LIMIT_MS);
  const commands = [
    { execute: 'qmp_capabilities' },
    { execute: 'query-cpu-model-expansion', arguments: { type: 'full', model: { name: 'max' } } },
    { execute: 'quit' },
  ];
  const { stdout } = await run(
    QEMU,
    [
      '-nodefaults',
      '-no-user-config',
      '-display',
      'none',
      '-machine',
      'none',
      '-accel',
      'tcg',
      '-qmp',
      'stdio',
    ],
    { signal, timeoutMs: LIMIT_MS, input: commands.map((one) => `${JSON.stringify(one)}\n`).join('') },
  );
  for (const line of stdout.split('\n').filter((text) => text.startsWith('{'))) {
    const { return: answer } = JSON.parse(line) as {
      return?: { model?: { props?: Record<string, unknown> } };
    };
    if (answer?.model?.props) return answer.model.props;
  }
  return {};
}

export async function lacksInstruction(name: 'rdrand' | 'rdseed', { kind }: Acceleration): Promise<boolean> {
  if (kind === 'kvm') return !cpuHas(name);
  const version = statSync(QEMU, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const flags = emulated.get(version) ?? emulatedFlags();
  emulated.set(version, flags);
  flags.catch(() => emulated.delete(version)); // asked again
  return (await flags)[name] !== true;
}

/** Why the first need that is not met stands against starting. Undefined: all is there. */
export async function missing(
  needs: readonly Need[],
  acceleration: Acceleration,
  folders = PROGRAM_FOLDERS,
): Promise<string | undefined> {
  for (const need of needs) {
    if (need === 'kvm') {
      if (acceleration.kind !== 'kvm')
        return `it needs KVM, which does not work on this node (${acceleration.reason ?? 'no reason is known'})`;
    } else if (need === 'qemu-arm64') {
      if (!existsSync(QEMU_ARM64))
        return 'it is for arm64 processors, which this node can not emulate: apt-get install qemu-system-arm';
    } else if (need === 'solo5-hvt' || need === 'solo5-spt') {
      if (!findProgram(need, folders))
        return `it needs Solo5's tender ${need}, which is not installed on this node: build it from Solo5's sources into /usr/local/bin`;
    } else if (await lacksInstruction(need, acceleration)) {
      const where =
        acceleration.kind === 'kvm'
          ? 'the processor of this node lacks'
          : "this node's QEMU does not emulate";
      return `its generator of random numbers needs the instruction ${need.toUpperCase()}, which ${where}: use a node with KVM and a processor that has it, or build the image without libukrandom`;
    }
  }
  return undefined;
}
