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
      await families(found, programFolders),
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

/** Which builds of unikernels can not be started here: nothing is wrong with a node that lacks what few images need. */
async function families(
  acceleration: Acceleration,
  programFolders?: readonly string[],
): Promise<ProbeFinding> {
  const tenders = ['spt', 'hvt'].filter((target) => !findProgram(`solo5-${target}`, programFolders));
  const instructions = [];
  for (const name of ['rdrand', 'rdseed'] as const)
    if (await lacksInstruction(name, acceleration)) instructions.push(name.toUpperCase());
  const not = [
    ...tenders.map((target) => `Solo5 for ${target} (solo5-${target} is not installed)`),
    ...(tenders.includes('hvt') || acceleration.kind === 'kvm' ? [] : ['Solo5 for hvt (it needs KVM)']),
    ...(instructions.length > 0
      ? [`Unikraft with libukrandom (guests' processors lack ${instructions.join(' and ')})`]
      : []),
  ];
  return {
    name: 'unikernel.families',
    ok: true,
    level: 'ok',
    text: not.length === 0 ? 'every family starts here' : `all but ${not.join(', ')} start here`,
  };
}
