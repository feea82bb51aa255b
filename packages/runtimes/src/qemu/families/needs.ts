/** What an image needs of its node, and whether it is there: programs, acceleration, instructions of the guests' processor. */
import { existsSync } from 'node:fs';
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

/** Flags of the processor that an emulated guest gets (QMP query-cpu-model-expansion); asked once for each QEMU. */
let emulated: Promise<Readonly<Record<string, unknown>>> | undefined;

async function emulatedFlags(signal: AbortSignal): Promise<Readonly<Record<string, unknown>>> {
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

export async function lacksInstruction(
  name: 'rdrand' | 'rdseed',
  { kind }: Acceleration,
  signal: AbortSignal,
): Promise<boolean> {
  if (kind === 'kvm') return !cpuHas(name);
  emulated ??= emulatedFlags(signal).catch((error) => {
    emulated = undefined; // asked again
    throw error;
  });
  return (await emulated)[name] !== true;
}

/** Why the first need that is not met stands against starting. Undefined: all is there. */
export async function missing(
  needs: readonly Need[],
  acceleration: Acceleration,
  signal: AbortSignal,
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
    } else if (await lacksInstruction(need, acceleration, signal)) {
      const where =
        acceleration.kind === 'kvm'
          ? 'the processor of this node lacks'
          : "this node's QEMU does not emulate";
      return `its generator of random numbers needs the instruction ${need.toUpperCase()}, which ${where}: use a node with KVM and a processor that has it, or build the image without libukrandom`;
    }
  }
  return undefined;
}
