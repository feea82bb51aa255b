/**
 * The machines that guests get, one for each architecture: QEMU's program, its board in a fixed version, its processor and
 * its firmware. A board's version is part of what a guest sees: it never changes under an installed system.
 *
 * What each choice is for (TCG; the figures are in memory.ts and in the documents of the runtime):
 *   - `portable` is Nehalem: what amd64 systems of today ask for at the most (x86-64-v2), and what every host of the last
 *     ten years has, Intel's and AMD's, and what TCG emulates whole: a guest may move between all of them.
 *   - no HPET, no USB, no SATA, no SMBus where nothing hangs on them: less for firmware and kernel to look for.
 */
import { existsSync } from 'node:fs';
import { run } from '@skerry/host';
import { SkerryError } from '@skerry/model';

export type Arch = 'amd64' | 'arm64';

interface Board {
  readonly program: string;
  /** Family of machine types of which the newest is taken. */
  readonly family: RegExp;
  readonly portableCpu: string;
  readonly package: string;
}

export const BOARDS: Readonly<Record<Arch, Board>> = {
  amd64: {
    program: '/usr/bin/qemu-system-x86_64',
    family: /^(pc-q35-\d+\.\d+)\s/gm,
    portableCpu: 'Nehalem',
    package: 'qemu-system-x86',
  },
  arm64: {
    program: '/usr/bin/qemu-system-aarch64',
    family: /^(virt-\d+\.\d+)\s/gm,
    portableCpu: 'cortex-a72',
    package: 'qemu-system-arm',
  },
};

export interface Firmware {
  readonly code: string;
  /** Template of the variables: each guest has its copy. */
  readonly variables: string;
  readonly package: string;
}

const UEFI: Readonly<Record<string, Firmware>> = {
  amd64: {
    code: '/usr/share/OVMF/OVMF_CODE_4M.fd',
    variables: '/usr/share/OVMF/OVMF_VARS_4M.fd',
    package: 'ovmf',
  },
  // With the keys that loaders of the usual systems are signed by; the code keeps its variables from the guest by SMM.
  'amd64 secure': {
    code: '/usr/share/OVMF/OVMF_CODE_4M.secboot.fd',
    variables: '/usr/share/OVMF/OVMF_VARS_4M.ms.fd',
    package: 'ovmf',
  },
  arm64: {
    code: '/usr/share/AAVMF/AAVMF_CODE.fd',
    variables: '/usr/share/AAVMF/AAVMF_VARS.fd',
    package: 'qemu-efi-aarch64',
  },
};

/** Errors: unsupported (no such firmware for the architecture), host_missing. */
export function uefiOf(arch: Arch, secureBoot: boolean): Firmware {
  const found = UEFI[secureBoot ? `${arch} secure` : arch];
  if (!found) throw new SkerryError('unsupported', `secure boot is not offered for ${arch}`);
  if (!existsSync(found.code) || !existsSync(found.variables)) {
    const text = `UEFI for ${arch} needs ${found.code}: apt-get install ${found.package}`;
    throw new SkerryError('host_missing', text);
  }
  return found;
}

const version = (name: string): number => {
  const [major = 0, minor = 0] = (/(\d+)\.(\d+)$/.exec(name)?.slice(1) ?? []).map(Number);
  return major * 1000 + minor;
};

/** The newest of a family in what `-machine help` prints. Pure. */
export function newestMachine(help: string, arch: Arch): string | undefined {
  const names = [...help.matchAll(BOARDS[arch].family)].map((match) => match[1]!);
  return names.sort((one, other) => version(other) - version(one))[0];
}

/** The versioned machine type for new guests. Errors: host_missing. */
export async function askMachine(arch: Arch, signal: AbortSignal): Promise<string> {
  const { program, package: packageName } = BOARDS[arch];
  if (!existsSync(program)) {
    const text = `${program} is not installed: apt-get install --no-install-recommends ${packageName}`;
    throw new SkerryError('host_missing', text);
  }
  const { stdout } = await run(program, ['-machine', 'help'], { signal, timeoutMs: 10_000 });
  const name = newestMachine(stdout, arch);
  if (name === undefined)
    throw new SkerryError('host_missing', `${program} has no machine type that is known here`);
  return name;
}
