/**
 * Tells what a partition holds from the marks that file systems and volume managers leave at fixed places (their super
 * blocks; util-linux's libblkid lists the same). Says no more than the mark does: nothing is mounted.
 */
import type { DiskBytes } from './disk-bytes.ts';

export interface FileSystem {
  /** `ext2` `ext3` `ext4` `xfs` `btrfs` `vfat` `exfat` `ntfs` `swap` `iso9660` `squashfs` `lvm2` `luks` `nanos` `osv-rofs`. */
  readonly type: string;
  readonly label?: string;
}

const EXT_INCOMPAT_EXTENTS = 0x40;
const EXT_COMPAT_JOURNAL = 0x4;

/** Up to the first byte that is no text. */
const text = (bytes: Buffer) => /^[\p{L}\p{N}\p{P}\p{S} ]*/u.exec(bytes.toString('utf8'))![0].trim();
const labelled = (type: string, label: Buffer): FileSystem => {
  const name = text(label);
  return name === '' || name === 'NO NAME' ? { type } : { type, label: name };
};

function readExt(disk: DiskBytes): FileSystem | undefined {
  const block = disk.read(1024, 1024);
  if (block?.readUInt16LE(0x38) !== 0xef53) return undefined;
  const extents = (block.readUInt32LE(0x60) & EXT_INCOMPAT_EXTENTS) !== 0;
  const journal = (block.readUInt32LE(0x5c) & EXT_COMPAT_JOURNAL) !== 0;
  return labelled(extents ? 'ext4' : journal ? 'ext3' : 'ext2', block.subarray(0x78, 0x88));
}

interface Mark {
  readonly type: string;
  readonly at: number;
  readonly magic: Buffer;
  readonly label?: readonly [at: number, length: number];
}
const mark = (type: string, at: number, magic: string, label?: readonly [number, number]): Mark => ({
  ...{ type, at, magic: Buffer.from(magic, 'latin1') },
  ...(label && { label }),
});

const MARKS: readonly Mark[] = [
  mark('nanos', 0, 'NVMTFS'),
  mark('osv-rofs', 0, '\xad\xbe\xad\xde'),
  mark('luks', 0, 'LUKS\xba\xbe'),
  mark('xfs', 0, 'XFSB', [108, 12]),
  mark('squashfs', 0, 'hsqs'),
  mark('ntfs', 3, 'NTFS    '),
  mark('exfat', 3, 'EXFAT   '),
  mark('vfat', 82, 'FAT32   ', [71, 11]),
  mark('vfat', 54, 'FAT1', [43, 11]),
  mark('lvm2', 512, 'LABELONE'),
  mark('swap', 4086, 'SWAPSPACE2', [1024 + 28, 16]),
  mark('iso9660', 32_769, 'CD001', [32_808, 32]),
  mark('btrfs', 65_600, '_BHRfS_M', [65_536 + 299, 256]),
];

export function fileSystemOf(disk: DiskBytes): FileSystem | undefined {
  for (const { type, at, magic, label } of MARKS) {
    if (!disk.read(at, magic.length)?.equals(magic)) continue;
    const name = label && disk.read(...label);
    return name ? labelled(type, name) : { type };
  }
  return readExt(disk);
}
