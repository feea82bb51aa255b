/**
 * From what is wanted to what is on the host: the files that `create` makes, and what `start` gives to QEMU. What can't be
 * is refused before anything is made.
 */
import { createHash } from 'node:crypto';
import { chownSync, existsSync, writeFileSync } from 'node:fs';
import { GUEST_GID, GUEST_UID } from '@skerry/host';
import type { ImageContent } from '@skerry/images';
import { SkerryError } from '@skerry/model';
import type { GuestSpec } from '../port.ts';
import type { Acceleration } from '../qemu/acceleration.ts';
import { seedFiles } from './cloud-init.ts';
import type { VmPlan } from './command-line.ts';
import {
  asDiskFull,
  makeDisk,
  makeSeed,
  makeTpmFolder,
  makeVariables,
  modernVariables,
  wholeSectors,
} from './disks.ts';
import { type Arch, uefiOf } from './machine.ts';
import { diskOf, hasUefi, seedOf, tpmOf, type VmFolder, type VmRecord, variablesOf } from './record.ts';
import { bootFiles, cdromPath, type VmImage, vmImage } from './vm-image.ts';

/** Of a disk for an installation where no size is given; it takes what is written to it, no more. */
const INSTALL_DISK_BYTES = 16 * 1024 ** 3;
const SWTPM = '/usr/bin/swtpm';

/** Makes all files of a new guest; the record is written first and last. Errors: those of the port's `create`. */
export async function makeFiles(
  folder: VmFolder,
  spec: GuestSpec,
  images: ImageContent,
  machineFor: (arch: Arch) => Promise<string>,
  signal: AbortSignal,
): Promise<void> {
  const { vm } = spec;
  const image = await vmImage(images, spec.imageDigest, vm?.boot?.kernelDigest);
  if (spec.network && spec.network.kind !== 'tap')
    throw new SkerryError('unsupported', 'a virtual machine needs a tap device, not a network namespace');
  if (vm?.cdromDigest !== undefined) await cdromPath(images, vm.cdromDigest);
  const secureBoot = vm?.secureBoot === true;
  const firmware = vm?.firmware ?? (secureBoot ? 'uefi' : image.firmware);
  if (firmware === 'bios' && (secureBoot || image.arch === 'arm64'))
    throw new SkerryError('unsupported', `${secureBoot ? 'secure boot' : image.arch} needs UEFI, not a BIOS`);
  const boot = vm?.boot && (await bootFiles(images, vm.boot, image.arch));
  const uefi = hasUefi({ spec, firmware }) ? uefiOf(image.arch, secureBoot) : undefined;
  if (vm?.tpm && !existsSync(SWTPM))
    throw new SkerryError('host_missing', `a TPM needs ${SWTPM}: apt-get install swtpm`);
  const seed = seedFiles(spec);
  const record: VmRecord = {
    ...{ spec, firmware, made: false, arch: image.arch, hasSeed: seed !== undefined },
    ...(boot && { heldBytes: boot.heldBytes }),
    machine: await machineFor(image.arch),
    image: { kind: image.kind, format: image.format },
  };
  try {
    folder.make();
    folder.write(record);
    const isDisk = image.kind === 'disk';
    const size = Math.max(
      isDisk ? image.virtualSizeBytes : 0,
      spec.diskBytes ?? (isDisk ? 0 : INSTALL_DISK_BYTES),
    );
    if (uefi) await makeVariables(variablesOf(folder), uefi.variables, signal);
    if (vm?.tpm) makeTpmFolder(tpmOf(folder));
    await Promise.all([
      makeDisk(diskOf(folder), isDisk ? image : undefined, wholeSectors(size), signal),
      ...(seed ? [makeSeed(seedOf(folder), seed, signal)] : []),
    ]);
    folder.write({ ...record, made: true });
  } catch (error) {
    folder.remove();
    throw asDiskFull(error);
  }
}

/** What QEMU is given. Errors: image_not_found, image_wrong_kind, image_invalid, host_missing. */
export async function planVm(
  folder: VmFolder,
  record: VmRecord,
  images: ImageContent,
  acceleration: Acceleration,
  signal: AbortSignal,
): Promise<VmPlan> {
  const { spec, arch } = record;
  const image: VmImage = await vmImage(images, spec.imageDigest);
  const extra = spec.vm?.cdromDigest;
  const screen = folder.path('screen.png');
  writeFileSync(screen, '', { mode: 0o600 });
  chownSync(screen, GUEST_UID, GUEST_GID);
  const secureBoot = spec.vm?.secureBoot === true;
  const uefi = hasUefi(record);
  if (uefi) await modernVariables(variablesOf(folder), signal);
  return {
    ...{ arch, screen, disk: diskOf(folder), machine: record.machine, memoryBytes: spec.memoryBytes },
    acceleration: arch === 'amd64' ? acceleration.kind : 'tcg',
    cpuModel: spec.vm?.cpuModel ?? 'portable',
    cpus: Math.max(1, Math.ceil(spec.cpus)),
    uuid: uuidOf(spec.uid),
    ...(image.kind === 'disk' ? { backing: { path: image.path, format: image.format } } : {}),
    cdroms: [
      ...(image.kind === 'iso' ? [image.path] : []),
      ...(extra === undefined ? [] : [await cdromPath(images, extra)]),
    ],
    ...(record.hasSeed ? { seed: seedOf(folder) } : {}),
    volumes: spec.volumes.map(({ name, hostPath, readOnly }) => ({ name, path: hostPath, readOnly })),
    ...(uefi
      ? { uefi: { code: uefiOf(arch, secureBoot).code, variables: variablesOf(folder), secureBoot } }
      : {}),
    ...(spec.vm?.tpm ? { tpm: tpmOf(folder) } : {}),
    ...(spec.network ? { mac: spec.network.mac } : {}),
    cards: spec.network?.kind === 'tap' ? (spec.network.cards ?? []) : [],
    ...(spec.vm?.boot ? { boot: await bootFiles(images, spec.vm.boot, arch) } : {}),
    display: spec.display === true,
  };
}

/** The same for the guest's whole life: systems and licences recognise their machine by it. RFC 9562, version 8. */
function uuidOf(uid: string): string {
  const hex = createHash('sha256').update(uid).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
