/** What is kept of a virtual machine from its `create` on, and where: its disk and its record outlive the run folder. */
import { join } from 'node:path';
import type { Identity } from '@skerry/host';
import type { Id } from '@skerry/model';
import type { GuestSpec } from '../port.ts';
import { GuestFolder, type GuestHome } from '../qemu/guest-folder.ts';
import type { Arch } from './machine.ts';

export interface VmRecord {
  readonly spec: GuestSpec;
  /** False while its files are being made: such a one is made anew. */
  readonly made: boolean;
  /** Kept for its whole life: what it was installed on, it boots on. A versioned machine type of QEMU's. */
  readonly machine: string;
  readonly arch: Arch;
  readonly firmware: 'bios' | 'uefi';
  readonly image: {
    readonly kind: 'disk' | 'iso';
    readonly format: 'raw' | 'qcow2';
  };
  readonly hasSeed: boolean;
  /** Bytes of its own kernel and initramfs, which QEMU holds beside its memory. */
  readonly heldBytes?: number;
  /** Set right before the supervisor is started. */
  readonly startedAtMs?: number;
  /** What was asked of it: kept, so that an agent that starts anew judges its end rightly. */
  readonly asked?: 'stopped' | 'killed';
}

/** Its variables are part of it. A kernel of its own is loaded without; the firmware is what it has again without that. */
export const hasUefi = ({ spec, firmware }: Pick<VmRecord, 'spec' | 'firmware'>): boolean =>
  firmware === 'uefi' && spec.vm?.boot === undefined;

export type VmFolder = GuestFolder<VmRecord>;

export const VMS: GuestHome = { run: 'v', record: 'vm.json' };

export const vmFolder = (identity: Identity, uid: Id<'instance'>): VmFolder =>
  new GuestFolder<VmRecord>(identity, uid, VMS);

/** Files in the data folder. */
export const diskOf = (folder: VmFolder): string => join(folder.data, 'disk.qcow2');
export const seedOf = (folder: VmFolder): string => join(folder.data, 'seed.iso');
export const variablesOf = (folder: VmFolder): string => join(folder.data, 'uefi-vars.fd');
export const tpmOf = (folder: VmFolder): string => join(folder.data, 'tpm');
