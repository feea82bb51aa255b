/**
 * Solo5 (MirageOS): notes of the owner `Solo5` tell for which tender it was built and which devices it must get, by name
 * (Solo5's elf_abi.h and mft_abi.h, 0.12). A name is given to a program later: only what Solo5 itself allows is taken.
 */
import type { ElfFile } from '../elf.ts';
import type { Need, Solo5Device, Solo5Facts } from '../kernel-facts.ts';

const OWNER = 'Solo5';
const ABI = 0x31494241;
const MANIFEST = 0x3154464d;
const TARGETS = ['none', 'hvt', 'spt', 'virtio', 'muen', 'genode', 'xen'];
const MANIFEST_PADDING_BYTES = 4;
const ENTRY_BYTES = 104;
const NAME_BYTES = 68;
/** Solo5's own limit of entries is 64. */
const ENTRY_LIMIT = 64;
const BLOCK = 1;
const NET = 2;
/** Solo5: letters, digits and a few marks, at most 67. */
const NAME = /^[A-Za-z0-9]{1,67}$/;

export const isSolo5 = (elf: ElfFile): boolean => elf.notes.some(({ owner }) => owner === OWNER);

/** A string: why it can't be read. */
export function readSolo5(elf: ElfFile): Solo5Facts | string {
  const note = (type: number) =>
    elf.notes.find((one) => one.owner === OWNER && one.type === type)?.descriptor;
  const abi = note(ABI);
  if (!abi || abi.length < 8) return 'the Solo5 file does not say for which tender it was built';
  const number = abi.readUInt32LE(0);
  const manifest = note(MANIFEST);
  const devices = manifest ? readManifest(manifest) : [];
  if (typeof devices === 'string') return devices;
  return { target: TARGETS[number] ?? `unknown (${number})`, abiVersion: abi.readUInt32LE(4), devices };
}

function readManifest(descriptor: Buffer): Solo5Device[] | string {
  const at = MANIFEST_PADDING_BYTES;
  if (descriptor.length < at + 8) return 'the Solo5 manifest is cut off';
  const version = descriptor.readUInt32LE(at);
  const count = descriptor.readUInt32LE(at + 4);
  if (version !== 1) return `the Solo5 manifest has the version ${version}, 1 is known`;
  if (count > ENTRY_LIMIT || at + 8 + count * ENTRY_BYTES > descriptor.length)
    return `the Solo5 manifest promises ${count} entries and has not so many`;
  const devices: Solo5Device[] = [];
  for (let i = 0; i < count; i++) {
    const entry = descriptor.subarray(at + 8 + i * ENTRY_BYTES);
    const type = entry.readUInt32LE(NAME_BYTES);
    if (type !== BLOCK && type !== NET) continue; // the reserved first entry
    const name = entry.toString('latin1', 0, NAME_BYTES).split('\0')[0]!;
    if (!NAME.test(name)) return `the Solo5 manifest names a device ${JSON.stringify(name)}`;
    devices.push({ name, type: type === NET ? 'net' : 'block' });
  }
  return devices;
}

/** What a node must have for a target. Undefined: no node can start it, or QEMU does. */
export const TENDER_NEEDS: Readonly<Record<string, readonly Need[]>> = {
  hvt: ['solo5-hvt', 'kvm'],
  spt: ['solo5-spt'],
};

/** Why a target can't be started anywhere. */
export function whyNotSolo5(target: string): string {
  if (target === 'xen')
    return 'it was built for Xen, which Skerry does not drive: build it for the target virtio, hvt or spt';
  return `it was built for the Solo5 target ${target}, which Skerry does not drive: build it for virtio, hvt or spt`;
}
