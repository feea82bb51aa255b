/**
 * ISO 9660 images (ECMA-119) and how they boot (El Torito 1.0; UEFI 2.10, 13.3.2.1): volume descriptors and the boot catalog,
 * read strictly.
 */
import { type DiskBytes, invalid, partOf } from '../disk/disk-bytes.ts';
import { type Arch, efiPrograms, type Firmware, firmwareOf } from '../disk/firmware.ts';

export const ISO_MAGIC = Buffer.from('CD001');
export const ISO_MAGIC_AT = 32_769;
const SECTOR_BYTES = 2048;
const FIRST_DESCRIPTOR = 16;
const DESCRIPTOR_LIMIT = 64;
const CATALOG_LIMIT_BYTES = 8 * SECTOR_BYTES;
const ENTRY_BYTES = 32;
const EL_TORITO = 'EL TORITO SPECIFICATION';
const PLATFORMS: Readonly<Record<number, string>> = { 0: 'bios', 1: 'powerpc', 2: 'mac', 239: 'uefi' };

export interface BootEntry {
  /** `bios`, `uefi`, `powerpc`, `mac`, or `0x…`. */
  readonly platform: string;
  readonly bootable: boolean;
  readonly startBytes: number;
}

export interface IsoFacts {
  readonly volumeId: string;
  readonly publisher?: string;
  readonly application?: string;
  readonly volumeBytes: number;
  readonly bootEntries: readonly BootEntry[];
  readonly firmware: Firmware;
  readonly arch?: Arch;
}

const refuse = (why: string): never => {
  throw invalid(`the ISO image is refused: ${why}`);
};
const textOf = (bytes: Buffer) => /^[\p{L}\p{N}\p{P}\p{S} ]*/u.exec(bytes.toString('latin1'))![0].trim();

function catalogOf(file: DiskBytes, at: number): BootEntry[] {
  const length = Math.min(CATALOG_LIMIT_BYTES, Math.floor((file.sizeBytes - at) / ENTRY_BYTES) * ENTRY_BYTES);
  const catalog = file.read(at, length);
  if (!catalog || length < 2 * ENTRY_BYTES) return refuse('the file is cut off: its boot catalog is missing');
  const validation = catalog.subarray(0, ENTRY_BYTES);
  let sum = 0;
  for (let i = 0; i < ENTRY_BYTES; i += 2) sum += validation.readUInt16LE(i);
  if (validation[0] !== 1 || validation.readUInt16LE(30) !== 0xaa55 || sum % 0x10000 !== 0)
    refuse('its boot catalog is damaged');
  const entries: BootEntry[] = [];
  const add = (offset: number, platform: number) => {
    const entry = catalog.subarray(offset, offset + ENTRY_BYTES);
    const startBytes = entry.readUInt32LE(8) * SECTOR_BYTES;
    if (startBytes >= file.sizeBytes) refuse('the file is cut off: a boot program is missing');
    const name = PLATFORMS[platform] ?? `0x${platform.toString(16)}`;
    entries.push({ platform: name, bootable: entry[0] === 0x88, startBytes });
  };
  add(ENTRY_BYTES, validation[1]!);
  let offset = 2 * ENTRY_BYTES;
  for (let last = false; !last && offset + ENTRY_BYTES <= length; ) {
    const id = catalog[offset]!;
    if (id !== 0x90 && id !== 0x91) break;
    last = id === 0x91;
    const platform = catalog[offset + 1]!;
    const count = catalog.readUInt16LE(offset + 2);
    offset += ENTRY_BYTES;
    for (let i = 0; i < count && offset + ENTRY_BYTES <= length; i++, offset += ENTRY_BYTES) {
      add(offset, platform);
      // Extensions of an entry say which of them is the last.
      while (catalog[offset + ENTRY_BYTES] === 0x44 && offset + 2 * ENTRY_BYTES <= length)
        offset += ENTRY_BYTES;
    }
  }
  return entries;
}

/** Errors: image_invalid. */
export function readIso(file: DiskBytes): IsoFacts {
  let primary: Buffer | undefined;
  let catalogAt: number | undefined;
  for (let i = 0; i < DESCRIPTOR_LIMIT; i++) {
    const descriptor = file.read((FIRST_DESCRIPTOR + i) * SECTOR_BYTES, SECTOR_BYTES);
    if (!descriptor) return refuse('the file is cut off: its descriptors are missing');
    if (!descriptor.subarray(1, 6).equals(ISO_MAGIC)) break; // of another standard, as UDF's
    const type = descriptor[0];
    if (type === 255) break;
    if (type === 1) primary ??= descriptor;
    if (type === 0 && descriptor.toString('latin1', 7, 7 + EL_TORITO.length) === EL_TORITO)
      catalogAt ??= descriptor.readUInt32LE(71) * SECTOR_BYTES;
  }
  if (!primary) return refuse('it has no primary descriptor');
  const blockBytes = primary.readUInt16LE(128);
  if (blockBytes !== 512 && blockBytes !== 1024 && blockBytes !== 2048)
    refuse(`blocks of ${blockBytes} bytes are not known`);
  const volumeBytes = primary.readUInt32LE(80) * blockBytes;
  if (volumeBytes > file.sizeBytes)
    refuse(`the file is cut off: it tells of ${volumeBytes} bytes and has ${file.sizeBytes}`);
  const bootEntries = catalogAt === undefined ? [] : catalogOf(file, catalogAt);
  const starts = (platform: string) => bootEntries.filter((one) => one.bootable && one.platform === platform);
  const images = starts('uefi').map(({ startBytes }) =>
    partOf(file, startBytes, file.sizeBytes - startBytes),
  );
  const bios = starts('bios').length > 0;
  const arch =
    images.map((image) => efiPrograms(image).arch).find((one) => one !== undefined) ??
    (bios ? 'amd64' : undefined);
  const publisher = textOf(primary.subarray(318, 446));
  const application = textOf(primary.subarray(574, 702));
  return {
    volumeId: textOf(primary.subarray(40, 72)),
    ...(publisher && { publisher }),
    ...(application && { application }),
    ...{ volumeBytes, bootEntries, firmware: firmwareOf(bios, images.length > 0) },
    ...(arch && { arch }),
  };
}
