/**
 * What a snapshot is made of: one inside each qcow2 of the guest (its disk, its UEFI variables), and a folder beside them
 * with the TPM's state, for which QEMU has no place, and what has to be known when it is used. The disk's own list decides
 * which snapshots there are.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { GUEST_GID, GUEST_UID, type QmpClient } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import { DISK_NODE, VARIABLES_NODE } from './command-line.ts';
import { qemuImg } from './disks.ts';
import { diskOf, hasUefi, tpmOf, type VmFolder, type VmRecord, variablesOf } from './record.ts';

/** What was true of the machine when it was taken. Written last: a snapshot without it is of an older version, or half. */
export interface SnapshotFacts {
  readonly firmware: VmRecord['firmware'];
  readonly secureBoot: boolean;
  readonly tpm: boolean;
  /** Its kernel was loaded in place of the disk's. Versions before that was offered did not say. */
  readonly boot?: boolean;
  /** Its file systems were held still by the agent inside. */
  readonly frozen: boolean;
}

export interface KnownSnapshot {
  readonly id: string;
  readonly name: string;
  readonly 'vm-state-size': number;
  readonly 'date-sec': number;
  readonly 'date-nsec': number;
}

/** The qcow2 files of a guest in which its snapshots are, and QEMU's names of them. The disk is the last. */
export function snapshotDisks(folder: VmFolder, record: VmRecord): { node: string; path: string }[] {
  const variables = hasUefi(record) ? [{ node: VARIABLES_NODE, path: variablesOf(folder) }] : [];
  return [...variables, { node: DISK_NODE, path: diskOf(folder) }];
}

export async function snapshotsIn(
  { node, path }: { node: string; path: string },
  qmp: QmpClient | undefined,
  signal: AbortSignal,
): Promise<KnownSnapshot[]> {
  if (qmp) {
    const nodes = await qmp.execute('query-named-block-nodes', undefined, { flat: true });
    return [...(nodes.find((one) => one['node-name'] === node)?.image.snapshots ?? [])];
  }
  const text = await qemuImg(['info', '--output=json', '-f', 'qcow2', path], signal);
  return (JSON.parse(text) as { snapshots?: KnownSnapshot[] }).snapshots ?? [];
}

/** Commas end an option's value: doubled, they do not (qemu(1), "-drive"). */
const asQcow2 = (path: string) => `driver=qcow2,file.driver=file,file.filename=${path.replaceAll(',', ',,')}`;

const ACTIONS = { take: '-c', restore: '-a', remove: '-d' } as const;

/** In a file that nobody has open. */
export const snapshotOffline = (
  path: string,
  action: keyof typeof ACTIONS,
  name: string,
  signal: AbortSignal,
) => qemuImg(['snapshot', '-q', ACTIONS[action], name, '--image-opts', asQcow2(path)], signal);

const besideOf = (folder: VmFolder, name: string) => join(folder.data, 'snapshots', name);
const factsOf = (folder: VmFolder, name: string) => join(besideOf(folder, name), 'facts.json');

export function readFacts(folder: VmFolder, name: string): SnapshotFacts | undefined {
  try {
    return JSON.parse(readFileSync(factsOf(folder, name), 'utf8')) as SnapshotFacts;
  } catch {
    return undefined;
  }
}

/** What is beside the disks, whole or not at all. The guest does not run, or holds still: its TPM writes nothing. */
export function keepBeside(folder: VmFolder, name: string, record: VmRecord, frozen: boolean): void {
  const { spec, firmware } = record;
  removeBeside(folder, name);
  const beside = besideOf(folder, name);
  mkdirSync(beside, { recursive: true, mode: 0o700 });
  const tpm = spec.vm?.tpm === true;
  if (tpm) copyTpm(tpmOf(folder), join(beside, 'tpm'));
  const { secureBoot = false, boot } = spec.vm ?? {};
  const facts: SnapshotFacts = { firmware, secureBoot, tpm, boot: boot !== undefined, frozen };
  writeFileSync(`${factsOf(folder, name)}.new`, JSON.stringify(facts), { mode: 0o600 });
  renameSync(`${factsOf(folder, name)}.new`, factsOf(folder, name));
}

export const removeBeside = (folder: VmFolder, name: string): void =>
  rmSync(besideOf(folder, name), { recursive: true, force: true });

/** The guest does not run. */
export function restoreTpm(folder: VmFolder, name: string): void {
  const kept = join(besideOf(folder, name), 'tpm');
  if (!existsSync(kept)) return;
  const fresh = `${tpmOf(folder)}.new`;
  rmSync(fresh, { recursive: true, force: true });
  copyTpm(kept, fresh);
  for (const file of readdirSync(fresh)) chownSync(join(fresh, file), GUEST_UID, GUEST_GID);
  chownSync(fresh, GUEST_UID, GUEST_GID);
  rmSync(tpmOf(folder), { recursive: true, force: true });
  renameSync(fresh, tpmOf(folder));
}

/** swtpm's state is one file of some KiB, and a lock. */
const MOST_FILES = 16;
const MOST_BYTES = 1024 * 1024;

/** Of a folder that belongs to the guests' user: plain files alone, no link of it is followed. */
function copyTpm(from: string, to: string): void {
  mkdirSync(to, { recursive: true, mode: 0o700 });
  const files = readdirSync(from, { withFileTypes: true }).filter(
    (one) => one.isFile() && one.name !== '.lock',
  );
  if (files.length > MOST_FILES) throw notTpm();
  for (const { name } of files) {
    const fd = openSync(join(from, name), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const about = fstatSync(fd);
      if (!about.isFile() || about.size > MOST_BYTES) throw notTpm();
      writeFileSync(join(to, name), readFileSync(fd), { mode: 0o600 });
      chmodSync(join(to, name), 0o600);
    } finally {
      closeSync(fd);
    }
  }
}

const notTpm = () => new SkerryError('internal', 'the folder of the TPM holds what no TPM writes');
