/**
 * A machine that is switched on again with other settings: more memory, another network, other user data. Its disk, its UEFI
 * variables and its TPM stay; what is made anew replaces the old only when all of it is there.
 */
import { existsSync, renameSync, rmSync } from 'node:fs';
import type { ImageContent } from '@skerry/images';
import { SkerryError } from '@skerry/model';
import type { GuestSpec } from '../port.ts';
import { seedFiles } from './cloud-init.ts';
import { asDiskFull, growDisk, makeSeed, makeTpmFolder, makeVariables } from './disks.ts';
import { uefiOf } from './machine.ts';
import { diskOf, hasUefi, seedOf, tpmOf, type VmFolder, type VmRecord, variablesOf } from './record.ts';
import { bootFiles, cdromPath } from './vm-image.ts';

/** The guest does not run. A failure leaves it as it was. Errors: those of the port's `create`. */
export async function remakeFiles(
  folder: VmFolder,
  before: VmRecord,
  spec: GuestSpec,
  images: ImageContent,
  signal: AbortSignal,
): Promise<void> {
  const { vm } = spec;
  if (spec.network && spec.network.kind !== 'tap')
    throw new SkerryError('unsupported', 'a virtual machine needs a tap device, not a network namespace');
  if (vm?.cdromDigest !== undefined) await cdromPath(images, vm.cdromDigest);
  const boot = vm?.boot && (await bootFiles(images, vm.boot, before.arch));
  const firmware = vm?.firmware ?? (vm?.secureBoot ? 'uefi' : before.firmware);
  if (firmware === 'bios' && (vm?.secureBoot || before.arch === 'arm64'))
    throw new SkerryError(
      'unsupported',
      `${vm?.secureBoot ? 'secure boot' : before.arch} needs UEFI, not a BIOS`,
    );
  const uefi = hasUefi({ spec, firmware }) ? uefiOf(before.arch, vm?.secureBoot === true) : undefined;
  const seed = seedFiles(spec);
  const fresh = `${seedOf(folder)}.new`;
  try {
    if (seed) await makeSeed(fresh, seed, signal);
    if (uefi && !existsSync(variablesOf(folder)))
      await makeVariables(variablesOf(folder), uefi.variables, signal);
    if (vm?.tpm) makeTpmFolder(tpmOf(folder));
    if (spec.diskBytes !== undefined) await growDisk(diskOf(folder), spec.diskBytes, signal);
    if (seed) renameSync(fresh, seedOf(folder));
    const { startedAtMs: _, asked: __, heldBytes: ___, ...rest } = before;
    const held = boot && { heldBytes: boot.heldBytes };
    folder.write({ ...rest, ...held, spec, firmware, hasSeed: seed !== undefined, made: true });
  } catch (error) {
    throw asDiskFull(error);
  } finally {
    rmSync(fresh, { force: true });
  }
}
