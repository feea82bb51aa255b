/** Hyper-V's disks ([MS-VHDX] 8.0), single files that stand alone and were closed. */
import { type DiskBytes, invalid, isInside, placeOf, VIRTUAL_SIZE_LIMIT_BYTES } from './disk-bytes.ts';
import type { ForeignDisk } from './vmdk.ts';

export const VHDX_SIGNATURE = Buffer.from('vhdxfile');
const KIB64 = 64 * 1024;
const HEADERS_AT = [KIB64, 2 * KIB64] as const;
const REGIONS_AT = [3 * KIB64, 4 * KIB64] as const;
const HEADER_BYTES = 4096;
const ENTRY_LIMIT = 2047;
const METADATA_LIMIT_BYTES = 64 * 1024 * 1024;

/** GUIDs as they lie in the file. */
const guid = (text: string): string => {
  const [a, b, c, d, e] = text.split('-') as [string, string, string, string, string];
  const turned = (hex: string) => Buffer.from(hex, 'hex').reverse().toString('hex');
  return `${turned(a)}${turned(b)}${turned(c)}${d}${e}`;
};
const METADATA_REGION = guid('8b7ca206-4790-4b9a-b8fe-575f050f886e');
const BAT_REGION = guid('2dc27766-f623-4200-9d64-115e9bfd4a08');
const FILE_PARAMETERS = guid('caa16737-fa36-4d43-b3b6-33f0aa44e76b');
const DISK_SIZE = guid('2fa54224-cd1b-4876-b211-5dbed83bf4b8');
const LOGICAL_SECTORS = guid('8141bf1d-a96f-4709-ba47-f233a8faab5f');
const PARENT_LOCATOR = guid('a8d35f2d-b30b-454d-abf7-d3d84834ab0c');
const HAS_PARENT = 2;
const MIB = 1024 * 1024;
/** Of the states of a block, only those from 6 on have content. */
const BLOCK_STATE = 7n;
const FULLY_PRESENT = 6n;
const REQUIRED_REGION = 1;
const REQUIRED_ITEM = 4;
const KNOWN_ITEMS = new Set([
  FILE_PARAMETERS,
  DISK_SIZE,
  guid('beca12ab-b2e6-4523-93ef-c309e000c746'), // page 83 data: the disk's own id
  LOGICAL_SECTORS,
  guid('cda348c7-445d-4471-9cc9-e9885251c556'), // physical sectors
]);

const refuse = (why: string): never => {
  throw invalid(`the vhdx disk is refused: ${why}`);
};

/** Of the two headers the one that was written last counts. */
function checkHeaders(file: DiskBytes): void {
  const [newest] = HEADERS_AT.map((at) => file.read(at, HEADER_BYTES))
    .filter((header) => header?.toString('latin1', 0, 4) === 'head')
    .map((header) => ({ number: header!.readBigUInt64LE(8), log: header!.subarray(48, 64) }))
    .sort((a, b) => (a.number < b.number ? 1 : -1));
  const last = newest ?? refuse('its headers are damaged or cut off');
  if (last.log.some((byte) => byte !== 0))
    refuse('it was not closed, changes wait in its log: shut the machine that uses it down first');
}

interface Place {
  readonly at: number;
  readonly length: number;
}

function regionsOf(file: DiskBytes, at: number): Map<string, Place> | undefined {
  const head = file.read(at, 16);
  if (head?.toString('latin1', 0, 4) !== 'regi') return undefined;
  const count = head.readUInt32LE(8);
  const table = count > ENTRY_LIMIT ? undefined : file.read(at + 16, count * 32);
  if (!table) return undefined;
  const regions = new Map<string, Place>();
  for (let i = 0; i < count; i++) {
    const entry = table.subarray(i * 32, (i + 1) * 32);
    const id = entry.toString('hex', 0, 16);
    const length = entry.readUInt32LE(24);
    const start = placeOf(entry.readBigUInt64LE(16)) ?? refuse('it claims an impossible place');
    if (regions.has(id)) refuse('it lists a region twice');
    if (id !== METADATA_REGION && id !== BAT_REGION && (entry.readUInt32LE(28) & REQUIRED_REGION) !== 0)
      refuse('it needs a region that is not known');
    if (!isInside(file.sizeBytes, start, length)) refuse('the file is cut off: a region is missing');
    regions.set(id, { at: start, length });
  }
  return regions;
}

function itemsOf(file: DiskBytes, region: Place): Map<string, Buffer> {
  if (region.length > METADATA_LIMIT_BYTES) refuse(`its metadata claim ${region.length} bytes`);
  const head = file.read(region.at, 32) ?? refuse('the file is cut off: its metadata are missing');
  if (head.toString('latin1', 0, 8) !== 'metadata') refuse('its metadata are damaged');
  const count = head.readUInt16LE(10);
  if (count > ENTRY_LIMIT) refuse(`it lists ${count} metadata`);
  const items = new Map<string, Buffer>();
  for (let i = 0; i < count; i++) {
    const entry =
      file.read(region.at + 32 + i * 32, 32) ?? refuse('the file is cut off: its metadata are missing');
    const id = entry.toString('hex', 0, 16);
    if (id === PARENT_LOCATOR) refuse('it names a parent; make one that stands alone: qemu-img convert');
    if (!KNOWN_ITEMS.has(id)) {
      if ((entry.readUInt32LE(24) & REQUIRED_ITEM) !== 0) refuse('it needs something that is not known');
      continue;
    }
    const [at, length] = [entry.readUInt32LE(16), entry.readUInt32LE(20)];
    if (length > 4096 || at + length > region.length) refuse('its metadata lie outside their place');
    items.set(
      id,
      file.read(region.at + at, length) ?? refuse('the file is cut off: its metadata are missing'),
    );
  }
  return items;
}

interface Geometry {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly sectorBytes: number;
}

function geometryOf(file: DiskBytes, metadata: Place): Geometry {
  const items = itemsOf(file, metadata);
  const parameters = items.get(FILE_PARAMETERS);
  const size = items.get(DISK_SIZE);
  const sectorBytes = items.get(LOGICAL_SECTORS)?.subarray(0, 4);
  if (parameters?.length !== 8 || size?.length !== 8 || sectorBytes?.length !== 4)
    return refuse('it does not tell its size or that of its blocks');
  if ((parameters.readUInt32LE(4) & HAS_PARENT) !== 0)
    refuse('it holds only the changes to another disk; make one that stands alone: qemu-img convert');
  const geometry = {
    sizeBytes: placeOf(size.readBigUInt64LE(0)) ?? refuse('it claims an impossible size'),
    blockBytes: parameters.readUInt32LE(0),
    sectorBytes: sectorBytes.readUInt32LE(0),
  };
  const { sizeBytes, blockBytes } = geometry;
  if (sizeBytes === 0) refuse('it has the size 0');
  if (sizeBytes > VIRTUAL_SIZE_LIMIT_BYTES)
    refuse(`it claims ${sizeBytes} bytes, more than ${VIRTUAL_SIZE_LIMIT_BYTES}`);
  if (blockBytes < MIB || blockBytes > 256 * MIB || (blockBytes & (blockBytes - 1)) !== 0)
    refuse(`blocks of ${blockBytes} bytes are not known`);
  if (geometry.sectorBytes !== 512 && geometry.sectorBytes !== 4096)
    refuse(`sectors of ${geometry.sectorBytes} bytes are not known`);
  return geometry;
}

/** Whether what the table of blocks leads to is in the file: a converter takes for zeros what is not. */
function checkBlocks(file: DiskBytes, table: Place, { sizeBytes, blockBytes, sectorBytes }: Geometry): void {
  const cut = (): never => refuse('the file is cut off: its table of blocks leads to what is missing');
  const blocks = Math.ceil(sizeBytes / blockBytes);
  // After as many blocks as a bitmap of 1 MiB covers sectors there is an entry for the bitmap.
  const ratio = (2 ** 23 * sectorBytes) / blockBytes;
  const tableBytes = (blocks + Math.floor((blocks - 1) / ratio)) * 8;
  if (tableBytes > table.length) cut();
  const entries = file.read(table.at, tableBytes) ?? cut();
  for (let offset = 0; offset < tableBytes; offset += 8) {
    const entry = entries.readBigUInt64LE(offset);
    if ((entry & BLOCK_STATE) < FULLY_PRESENT) continue;
    const at = placeOf(entry & ~(BigInt(MIB) - 1n));
    if (at === undefined || !isInside(file.sizeBytes, at, blockBytes)) cut();
  }
}

/** Errors: image_invalid. */
export function readVhdx(file: DiskBytes): ForeignDisk {
  if (!file.read(0, 8)?.equals(VHDX_SIGNATURE)) refuse('its signature is not there');
  checkHeaders(file);
  const tables = REGIONS_AT.map((at) => regionsOf(file, at)).filter((one) => one !== undefined);
  // Which of the two copies a converter takes is its choice: every one has to be in order, and of one mind.
  const sizes = tables.map((regions) => {
    const metadata = regions.get(METADATA_REGION) ?? refuse('it has no metadata');
    const blocks = regions.get(BAT_REGION) ?? refuse('it has no table of blocks');
    const geometry = geometryOf(file, metadata);
    checkBlocks(file, blocks, geometry);
    return geometry.sizeBytes;
  });
  const [virtualSizeBytes] = sizes;
  if (virtualSizeBytes === undefined) return refuse('its tables of regions are damaged or cut off');
  if (sizes.some((size) => size !== virtualSizeBytes)) refuse('its two tables tell of different sizes');
  return { virtualSizeBytes };
}
