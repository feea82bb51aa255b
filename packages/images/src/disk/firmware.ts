/** By which firmware a disk boots, and for which processor, as far as its boot programs tell (UEFI 2.10, 3.5.1.1). */
import type { DiskBytes } from './disk-bytes.ts';
import { partOf } from './disk-bytes.ts';
import { fatNames } from './fat.ts';
import { BIOS_BOOT_GUID, ESP_GUID } from './gpt.ts';
import type { PartitionTable } from './partitions.ts';

export type Firmware = 'bios' | 'uefi' | 'both' | 'unknown';
export type Arch = 'amd64' | 'arm64';

export interface Boots {
  readonly firmware: Firmware;
  /** Absent: nothing tells, or it is none that Skerry has machines for. */
  readonly arch?: Arch;
  /** Names in EFI/ beside BOOT, which systems call after themselves: `debian`, `Microsoft`. */
  readonly systems: readonly string[];
}

const PROGRAMS: Readonly<Record<string, Arch | undefined>> = {
  'BOOTX64.EFI': 'amd64',
  'BOOTAA64.EFI': 'arm64',
};
const ANY_PROGRAM = /^BOOT[A-Z0-9]+\.EFI$/;
const ESP_KIND = '0xef';

/** The boot programs in `EFI/BOOT` of a FAT file system. */
export function efiPrograms(disk: DiskBytes): { readonly found: boolean; readonly arch?: Arch } {
  const names = fatNames(disk, ['EFI', 'BOOT']);
  const arch = names.map((name) => PROGRAMS[name]).find((one) => one !== undefined);
  return { found: names.some((name) => ANY_PROGRAM.test(name)), ...(arch && { arch }) };
}

export function firmwareOf(bios: boolean, uefi: boolean): Firmware {
  if (bios && uefi) return 'both';
  return uefi ? 'uefi' : bios ? 'bios' : 'unknown';
}

export function bootsBy(disk: DiskBytes, { scheme, partitions, bootCode }: PartitionTable): Boots {
  const systems: string[] = [];
  let uefi = false;
  let arch: Arch | undefined;
  // Removable media boot from any FAT, so a disk without the right kind of partition may, too.
  const fats = partitions.filter(
    ({ fileSystem, kind }) => fileSystem === 'vfat' || kind === ESP_GUID || kind === ESP_KIND,
  );
  const parts = fats.map(({ startBytes, sizeBytes }) => partOf(disk, startBytes, sizeBytes));
  for (const part of scheme === 'none' ? [disk] : parts) {
    const programs = efiPrograms(part);
    if (!programs.found) continue;
    uefi = true;
    arch ??= programs.arch;
    systems.push(...fatNames(part, ['EFI']).filter((name) => name !== 'BOOT'));
  }
  // On a GPT, code in the first sector is of use only with a place for the rest of the boot loader.
  const bios =
    bootCode &&
    (scheme !== 'gpt' || arch !== 'arm64' || partitions.some(({ kind }) => kind === BIOS_BOOT_GUID));
  arch ??= bios ? 'amd64' : undefined;
  return {
    firmware: firmwareOf(bios, uefi),
    ...(arch && { arch }),
    systems: [...new Set(systems)].slice(0, 8),
  };
}
