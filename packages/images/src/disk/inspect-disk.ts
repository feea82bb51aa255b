/** Everything that a look into a disk finds, without opening it by any program: size, partitions, firmware, system. */
import { type DiskBytes, invalid, VIRTUAL_SIZE_LIMIT_BYTES } from './disk-bytes.ts';
import { fileSystemOf } from './file-system.ts';
import { type Arch, bootsBy, type Firmware } from './firmware.ts';
import { type Partition, type PartitionTable, readPartitions } from './partitions.ts';
import { readQcow2 } from './qcow2.ts';
import { qcow2Content, qcow2Usage } from './qcow2-content.ts';
import { type DiskUnikernel, diskUnikernel } from './unikernel-disk.ts';

/** What a disk is stored as. */
export type DiskFormat = 'raw' | 'qcow2';

export interface InspectedDisk {
  readonly virtualSizeBytes: number;
  /** Bytes that have content, as the tables of a qcow2 tell; a raw disk has no tables. */
  readonly usedBytes?: number;
  readonly scheme: PartitionTable['scheme'];
  readonly partitions: readonly Partition[];
  /** Of a disk without partitions. */
  readonly fileSystem?: string;
  readonly label?: string;
  readonly firmware: Firmware;
  readonly arch?: Arch;
  /** What its boot programs or labels tell: `debian`, `windows`. A guess. */
  readonly os?: string;
  readonly snapshots?: number;
  readonly unikernel?: DiskUnikernel;
}

const GENERIC = new Set(['boot', 'tools', 'grub', 'systemd', 'linux', 'refind']);

function osOf(systems: readonly string[], partitions: readonly Partition[]): string | undefined {
  const named = systems.map((name) => name.toLowerCase()).find((name) => !GENERIC.has(name));
  if (named !== undefined) return named === 'microsof' || named === 'microsoft' ? 'windows' : named;
  const active = partitions.find((one) => one.active);
  return active?.fileSystem === 'ntfs' ? 'windows' : undefined;
}

function inspectContent(disk: DiskBytes): InspectedDisk {
  const table = readPartitions(disk);
  const { firmware, arch, systems } = bootsBy(disk, table);
  const whole = table.scheme === 'none' ? fileSystemOf(disk) : undefined;
  const unikernel = diskUnikernel(disk, table.partitions);
  const os = osOf(systems, table.partitions);
  return {
    virtualSizeBytes: disk.sizeBytes,
    scheme: table.scheme,
    partitions: table.partitions,
    ...(whole && { fileSystem: whole.type, ...(whole.label !== undefined && { label: whole.label }) }),
    firmware,
    ...(arch && { arch }),
    ...(os !== undefined && { os }),
    ...(unikernel && { unikernel }),
  };
}

/** Errors: image_invalid. */
export function inspectDisk(file: DiskBytes, format: DiskFormat): InspectedDisk {
  if (format === 'raw') {
    if (file.sizeBytes > VIRTUAL_SIZE_LIMIT_BYTES)
      throw invalid(`the disk has ${file.sizeBytes} bytes, more than ${VIRTUAL_SIZE_LIMIT_BYTES}`);
    return inspectContent(file);
  }
  const header = readQcow2(file);
  const { usedBytes, whole } = qcow2Usage(file, header);
  const found = inspectContent(qcow2Content(file, header));
  const { snapshots } = header;
  return { ...found, ...(whole && { usedBytes }), ...(snapshots > 0 && { snapshots }) };
}
