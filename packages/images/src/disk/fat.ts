/**
 * Names in the folders of a FAT file system (Microsoft's FAT specification 1.03), to see which boot programs lie on an EFI
 * system partition. Reads folders only; chains of clusters that turn in circles end at a limit.
 */
import type { DiskBytes } from './disk-bytes.ts';

const FOLDER_LIMIT_BYTES = 256 * 1024;
const ENTRY_BYTES = 32;
const IS_FOLDER = 0x10;
const IS_LABEL = 0x08;

interface FatEntry {
  /** In capitals, as the short name has it: `BOOTX64.EFI`. */
  readonly name: string;
  readonly isFolder: boolean;
  readonly cluster: number;
}

interface Fat {
  readonly disk: DiskBytes;
  readonly bits: 12 | 16 | 32;
  readonly clusterBytes: number;
  readonly fatAt: number;
  readonly dataAt: number;
  readonly clusters: number;
  /** Of FAT12 and FAT16 a place of its own, of FAT32 a cluster. */
  readonly root: { readonly at: number; readonly length: number } | { readonly cluster: number };
}

function openFat(disk: DiskBytes): Fat | undefined {
  const boot = disk.read(0, 512);
  if (!boot) return undefined;
  const sectorBytes = boot.readUInt16LE(11);
  const perCluster = boot[13]!;
  const isPower = (n: number) => n > 0 && (n & (n - 1)) === 0;
  if (!isPower(sectorBytes) || sectorBytes < 512 || sectorBytes > 4096 || !isPower(perCluster))
    return undefined;
  const rootEntries = boot.readUInt16LE(17);
  const sectors = boot.readUInt16LE(19) || boot.readUInt32LE(32);
  const fatSectors = boot.readUInt16LE(22) || boot.readUInt32LE(36);
  const fatAt = boot.readUInt16LE(14) * sectorBytes;
  const rootAt = fatAt + boot[16]! * fatSectors * sectorBytes;
  const rootBytes = Math.ceil((rootEntries * ENTRY_BYTES) / sectorBytes) * sectorBytes;
  const dataAt = rootAt + rootBytes;
  const clusterBytes = sectorBytes * perCluster;
  const clusters = Math.floor((sectors * sectorBytes - dataAt) / clusterBytes);
  if (clusters < 1 || fatSectors === 0) return undefined;
  // The count of clusters alone says which of the three it is (3.5 of the specification).
  const bits = clusters < 4085 ? 12 : clusters < 65_525 ? 16 : 32;
  const root =
    bits === 32 ? { cluster: boot.readUInt32LE(44) } : { at: rootAt, length: rootEntries * ENTRY_BYTES };
  return { disk, bits, clusterBytes, fatAt, dataAt, clusters, root };
}

/** The cluster that follows; undefined at the end of the chain. */
function following(fat: Fat, cluster: number): number | undefined {
  if (fat.bits === 12) {
    const pair = fat.disk.read(fat.fatAt + Math.floor(cluster * 1.5), 2)?.readUInt16LE(0);
    if (pair === undefined) return undefined;
    const next = cluster % 2 === 0 ? pair & 0xfff : pair >> 4;
    return next >= 2 && next < 0xff7 ? next : undefined;
  }
  const bytes = fat.disk.read(fat.fatAt + (cluster * fat.bits) / 8, fat.bits / 8);
  const next = fat.bits === 16 ? bytes?.readUInt16LE(0) : (bytes?.readUInt32LE(0) ?? 0) & 0x0fffffff;
  return next !== undefined && next >= 2 && next < fat.clusters + 2 ? next : undefined;
}

function* piecesOf(fat: Fat, start: number): Generator<Buffer> {
  let cluster: number | undefined = start;
  for (let read = 0; cluster !== undefined && read < FOLDER_LIMIT_BYTES; read += fat.clusterBytes) {
    if (cluster < 2 || cluster >= fat.clusters + 2) return;
    const piece = fat.disk.read(fat.dataAt + (cluster - 2) * fat.clusterBytes, fat.clusterBytes);
    if (!piece) return;
    yield piece;
    cluster = following(fat, cluster);
  }
}

function* entriesOf(pieces: Iterable<Buffer>): Generator<FatEntry> {
  for (const piece of pieces) {
    for (let at = 0; at + ENTRY_BYTES <= piece.length; at += ENTRY_BYTES) {
      const entry = piece.subarray(at, at + ENTRY_BYTES);
      if (entry[0] === 0) return;
      const attributes = entry[11]!;
      if (entry[0] === 0xe5 || entry[0] === 0x2e || (attributes & IS_LABEL) !== 0) continue; // removed, `.`, long names
      const part = (from: number, to: number) => entry.toString('latin1', from, to).trimEnd();
      const ending = part(8, 11);
      yield {
        name: ending ? `${part(0, 8)}.${ending}` : part(0, 8),
        isFolder: (attributes & IS_FOLDER) !== 0,
        cluster: entry.readUInt16LE(20) * 0x10000 + entry.readUInt16LE(26),
      };
    }
  }
}

/** Short names, in capitals, in a folder such as `['EFI', 'BOOT']`; empty where there is none, or no FAT. */
export function fatNames(disk: DiskBytes, path: readonly string[]): string[] {
  const fat = openFat(disk);
  if (!fat) return [];
  let pieces: Iterable<Buffer>;
  if ('cluster' in fat.root) pieces = piecesOf(fat, fat.root.cluster);
  else {
    const root = disk.read(fat.root.at, fat.root.length);
    pieces = root ? [root] : [];
  }
  for (const name of path) {
    const folder = [...entriesOf(pieces)].find((entry) => entry.isFolder && entry.name === name);
    if (!folder) return [];
    pieces = piecesOf(fat, folder.cluster);
  }
  return [...entriesOf(pieces)].map(({ name }) => name);
}
