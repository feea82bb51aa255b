/** What of the unikernel runtime works on this node, and what to do where it does not. */
import { cgroupMode, run } from '@skerry/host';
import { asSkerryError, type ProbeFinding } from '@skerry/model';
import type { Acceleration } from './acceleration.ts';
import { QEMU } from './supervise.ts';

export async function probeQemu(
  acceleration: () => Promise<Acceleration>,
  signal: AbortSignal,
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
