/**
 * VMware's disks (Virtual Disk Format 5.0): a single sparse file with its descriptor inside, as VMware and OVF archives have
 * it. Descriptors that lead to other files are refused: a converter would open whatever they name.
 */
import { type DiskBytes, invalid, placeOf, VIRTUAL_SIZE_LIMIT_BYTES } from './disk-bytes.ts';

const MAGIC = Buffer.from('KDMV');
const SECTOR_BYTES = 512;
const HEADER_BYTES = 512;
const DESCRIPTOR_LIMIT_BYTES = 1024 * 1024;
/** A converter looks for a parent's name in the 20 sectors after the header, whatever the header says (QEMU's block/vmdk.c). */
const PARENT_SEARCH_BYTES = 20 * SECTOR_BYTES;
const COMPRESSED = 1 << 16;
const TABLES_AT_END = 2n ** 64n - 1n;
const GRAIN_LIMIT_SECTORS = 2 ** 16; // 32 MiB, as QEMU has it
/** Tables that are looked through: 64 MiB of them are 1 TiB in grains of 64 KiB. */
const CHECK_LIMIT_BYTES = 64 * 1024 * 1024;
const TYPES = new Set(['monolithicSparse', 'streamOptimized']);

export interface ForeignDisk {
  readonly virtualSizeBytes: number;
}

const refuse = (why: string): never => {
  throw invalid(`the vmdk disk is refused: ${why}`);
};

interface Header {
  readonly capacity: bigint;
  readonly grainSectors: number;
  readonly tableEntries: number;
  /** Grains are compressed: how long one is, only it tells. */
  readonly compressed: boolean;
  readonly tablesAt: bigint;
  readonly descriptorAt: number;
  readonly descriptorBytes: number;
}

function readHeader(file: DiskBytes, at: number): Header {
  const header = file.read(at, HEADER_BYTES) ?? refuse('its header is cut off');
  if (!header.subarray(0, 4).equals(MAGIC)) refuse('its header is not there');
  const version = header.readUInt32LE(4);
  if (version < 1 || version > 3) refuse(`it has the version ${version}, 1 to 3 are known`);
  const grain = header.readBigUInt64LE(20);
  if (grain < 1n || grain > GRAIN_LIMIT_SECTORS) refuse(`grains of ${grain} sectors are not known`);
  const entries = header.readUInt32LE(44);
  if (entries < 1 || entries > 512) refuse(`its tables claim ${entries} entries`);
  const inBytes = (value: bigint) =>
    placeOf(value * BigInt(SECTOR_BYTES)) ?? refuse('it claims an impossible place');
  return {
    capacity: header.readBigUInt64LE(12),
    grainSectors: Number(grain),
    tableEntries: entries,
    compressed: (header.readUInt32LE(8) & COMPRESSED) !== 0,
    tablesAt: header.readBigUInt64LE(56),
    descriptorAt: inBytes(header.readBigUInt64LE(28)),
    descriptorBytes: inBytes(header.readBigUInt64LE(36)),
  };
}

function checkDescriptor(text: string): void {
  const value = (name: string) =>
    new RegExp(`^\\s*${name}\\s*=\\s*"?([^"\\r\\n]*?)"?\\s*$`, 'im').exec(text)?.[1];
  const type = value('createType') ?? '';
  if (!TYPES.has(type))
    refuse(
      `it is of the type "${type.slice(0, 40)}", whose data is in other files; make one file of it: qemu-img convert`,
    );
  if ((value('parentCID') ?? 'ffffffff').toLowerCase() !== 'ffffffff')
    refuse('it holds only the changes to another disk; make one that stands alone: qemu-img convert');
  const extents = text.split(/\r?\n/).filter((line) => /^\s*(RW|RDONLY|NOACCESS)\s/i.test(line));
  if (extents.length !== 1 || !/^\s*RW\s+\d+\s+SPARSE\s+"[^"/\\]*"\s*$/i.test(extents[0]!))
    refuse('its descriptor names other files than itself');
}

/** Errors: image_invalid. */
export function readVmdk(file: DiskBytes): ForeignDisk {
  const header = readHeader(file, 0);
  // A header without a capacity makes a converter follow the descriptor to other files.
  if (header.capacity === 0n) refuse('it has the size 0');
  const virtualSizeBytes =
    placeOf(header.capacity * BigInt(SECTOR_BYTES)) ?? refuse('it claims an impossible size');
  if (virtualSizeBytes > VIRTUAL_SIZE_LIMIT_BYTES)
    refuse(`it claims ${virtualSizeBytes} bytes, more than ${VIRTUAL_SIZE_LIMIT_BYTES}`);
  const { descriptorAt, descriptorBytes } = header;
  if (descriptorAt === 0 || descriptorBytes === 0) refuse('it has no descriptor');
  if (descriptorBytes > DESCRIPTOR_LIMIT_BYTES) refuse(`its descriptor claims ${descriptorBytes} bytes`);
  const descriptor =
    file.read(descriptorAt, descriptorBytes) ?? refuse('the file is cut off: its descriptor is missing');
  checkDescriptor(descriptor.toString('latin1').replace(/\0.*$/s, ''));
  const searched = file.read(HEADER_BYTES, Math.min(PARENT_SEARCH_BYTES, file.sizeBytes - HEADER_BYTES));
  for (const bytes of [descriptor, searched])
    if (bytes?.includes('parentFileNameHint'))
      refuse('it names a parent; make one that stands alone: qemu-img convert');
  checkGrains(file, header.tablesAt === TABLES_AT_END ? readFooter(file, header) : header, virtualSizeBytes);
  return { virtualSizeBytes };
}

/** Footer marker, footer, end-of-stream marker: a sector each. */
function readFooter(file: DiskBytes, header: Header): Header {
  const at = file.sizeBytes - 2 * SECTOR_BYTES;
  if (!file.read(at, 4)?.equals(MAGIC)) refuse('the file is cut off: its end is missing');
  const footer = readHeader(file, at);
  if (footer.capacity !== header.capacity) refuse('its header and its footer tell of different sizes');
  return footer;
}

/** Whether the tables and what they lead to are in the file: a converter takes for zeros what is not. */
function checkGrains(
  file: DiskBytes,
  { tablesAt, grainSectors, tableEntries, compressed }: Header,
  sizeBytes: number,
): void {
  const tableBytes = tableEntries * 4;
  const leastBytes = compressed ? 1 : grainSectors * SECTOR_BYTES;
  const tables = Math.ceil(sizeBytes / (grainSectors * SECTOR_BYTES * tableEntries));
  const cut = (): never => refuse('the file is cut off: its tables lead to what is missing');
  const place = placeOf(tablesAt * BigInt(SECTOR_BYTES)) ?? cut();
  const fits = tables * 4 <= CHECK_LIMIT_BYTES;
  const directory = (fits ? file.read(place, tables * 4) : undefined) ?? cut();
  for (let i = 0, looked = 0; i < tables && looked <= CHECK_LIMIT_BYTES; i++) {
    const at = directory.readUInt32LE(i * 4) * SECTOR_BYTES;
    if (at === 0) continue;
    looked += tableBytes;
    const table = file.read(at, tableBytes) ?? cut();
    for (let offset = 0; offset < tableBytes; offset += 4) {
      const grain = table.readUInt32LE(offset); // 0: nothing is there, 1: zeros
      if (grain > 1 && grain * SECTOR_BYTES + leastBytes > file.sizeBytes) cut();
    }
  }
}
