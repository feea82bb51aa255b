/** What of the runtime of virtual machines works on this node, and what to do where it does not. */
import { existsSync } from 'node:fs';
import { cgroupMode, run } from '@skerry/host';
import { asSkerryError, type ProbeFinding } from '@skerry/model';
import type { Acceleration } from '../qemu/acceleration.ts';
import { QEMU_IMG } from './disks.ts';
import { BOARDS, uefiOf } from './machine.ts';

const TOOLS = { [QEMU_IMG]: 'qemu-utils', '/usr/bin/xorriso': 'xorriso' };

const ok = (name: string, text: string): ProbeFinding => ({ name, ok: true, level: 'ok', text });
const missing = (name: string, text: string, packages: string): ProbeFinding => ({
  ...{ name, text, ok: false, level: 'missing' },
  remedy: `apt-get install --no-install-recommends ${packages}`,
});

async function versionOf(program: string, signal: AbortSignal): Promise<string> {
  const { stdout } = await run(program, ['--version'], { signal, timeoutMs: 5000 });
  return /version (\S+)/.exec(stdout)?.[1] ?? 'of unknown version';
}

export async function probeVm(
  acceleration: () => Promise<Acceleration>,
  signal: AbortSignal,
): Promise<ProbeFinding[]> {
  return [
    ...(await machineFindings(acceleration, signal)),
    uefiFinding(),
    existsSync('/usr/bin/swtpm')
      ? ok('vm.tpm', 'virtual TPM 2.0 by swtpm')
      : missing('vm.tpm', 'virtual machines have no TPM: swtpm is not installed', 'swtpm'),
    await armFinding(signal),
  ];
}

async function machineFindings(
  acceleration: () => Promise<Acceleration>,
  signal: AbortSignal,
): Promise<ProbeFinding[]> {
  try {
    const version = await versionOf(BOARDS.amd64.program, signal);
    const lacking = Object.entries(TOOLS).filter(([path]) => !existsSync(path));
    if (lacking.length > 0) {
      const text = `virtual machines need ${lacking.map(([path]) => path).join(' and ')}`;
      return [missing('vm', text, lacking.map(([, name]) => name).join(' '))];
    }
    const found = await acceleration();
    return [
      ok('vm', `QEMU ${version}, limits by control groups (${cgroupMode()})`),
      found.kind === 'kvm'
        ? ok('vm.acceleration', 'kvm: a guest was started with it')
        : {
            ...{ name: 'vm.acceleration', ok: true, level: 'degraded' },
            text: `software emulation (tcg): ${found.reason}`,
            ...(found.remedy ? { remedy: found.remedy } : {}),
          },
    ];
  } catch (error) {
    if (signal.aborted) throw error;
    return [missing('vm', asSkerryError(error).message, `${BOARDS.amd64.package} qemu-utils xorriso`)];
  }
}

function uefiFinding(): ProbeFinding {
  try {
    uefiOf('amd64', false);
    uefiOf('amd64', true);
    return ok('vm.uefi', 'UEFI (OVMF), secure boot with the usual keys');
  } catch (error) {
    return missing(
      'vm.uefi',
      `virtual machines start by BIOS alone: ${asSkerryError(error).message}`,
      'ovmf',
    );
  }
}

async function armFinding(signal: AbortSignal): Promise<ProbeFinding> {
  const { program, package: packageName } = BOARDS.arm64;
  try {
    uefiOf('arm64', false);
    return ok('vm.arm64', `arm64 guests by QEMU ${await versionOf(program, signal)}, emulated`);
  } catch (error) {
    if (signal.aborted) throw error;
    const text = `no arm64 guests: ${asSkerryError(error).message}`;
    return missing('vm.arm64', text, `${packageName} qemu-efi-aarch64`);
  }
}
