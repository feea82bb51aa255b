/**
 * Taking, restoring and removing a snapshot, each step in an order that leaves nothing half when all ends in between: the
 * disk's list names a snapshot only when the rest of it is there, and what was begun is brought to an end later (`settle`).
 *
 *   take, running:  mark, file systems held still, guest held still, memory and disks kept, TPM kept, guest goes on,
 *                   file systems go on, mark away
 */
import type { QmpClient } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import { DISK_NODE } from './command-line.ts';
import { freeze, mayBeFrozen } from './freeze.ts';
import type { VmAtHand } from './guests.ts';
import { endJobs, runJob } from './jobs.ts';
import type { VmFolder, VmRecord } from './record.ts';
import { readMark, removeMark, writeMark } from './snapshot-mark.ts';
import {
  type KnownSnapshot,
  keepBeside,
  readFacts,
  removeBeside,
  restoreTpm,
  type SnapshotFacts,
  snapshotDisks,
  snapshotOffline,
  snapshotsIn,
} from './snapshot-parts.ts';

type Running = VmAtHand & { readonly qmp: QmpClient };

/** The disk's list decides. */
export const listSnapshots = ({ folder, record, qmp }: VmAtHand, signal: AbortSignal) =>
  snapshotsIn(snapshotDisks(folder, record).at(-1)!, qmp, signal);

export async function takeSnapshot(at: VmAtHand, name: string, signal: AbortSignal): Promise<void> {
  const { folder, record, qmp } = at;
  await removeSnapshot(at, name, signal); // what may be left of one that was begun
  if (qmp) return takeRunning({ ...at, qmp }, name, signal);
  writeMark(folder, { doing: 'take', name });
  try {
    keepBeside(folder, name, record, false);
    for (const { path } of snapshotDisks(folder, record)) await snapshotOffline(path, 'take', name, signal);
    removeMark(folder);
  } catch (error) {
    await settle(at, signal).catch(() => undefined); // else later
    throw error;
  }
}

async function takeRunning(at: Running, name: string, signal: AbortSignal): Promise<void> {
  const { folder, record, qmp, agent } = at;
  const { running } = await qmp.execute('query-status');
  const disks = snapshotDisks(folder, record);
  await requireOwnVariables(qmp, disks);
  writeMark(folder, {
    ...{ doing: 'take', name },
    ...(running && record.startedAtMs !== undefined ? { resume: record.startedAtMs } : {}),
  });
  const hold = async () => {
    const frozen = running && at.hasAgent && (await freeze(folder, agent));
    if (running) await qmp.execute('stop');
    const devices = disks.map(({ node }) => node);
    await runJob(
      qmp,
      (id) =>
        qmp.execute('snapshot-save', undefined, { 'job-id': id, tag: name, vmstate: DISK_NODE, devices }),
      signal,
    );
    keepBeside(folder, name, record, frozen);
    removeMark(folder);
  };
  try {
    await agent.hold(async () => {
      try {
        await hold();
      } finally {
        if (running) await qmp.execute('cont').catch(() => undefined); // it ended meanwhile
        await at.thaw();
      }
    });
  } catch (error) {
    await settle(at, AbortSignal.timeout(UNDO_LIMIT_MS)).catch(() => undefined); // else later
    throw error;
  }
}

const UNDO_LIMIT_MS = 30_000;

/** One that was started by an older version has its UEFI variables in a file that keeps no snapshots. */
async function requireOwnVariables(qmp: QmpClient, disks: readonly { node: string }[]): Promise<void> {
  const nodes = await qmp.execute('query-named-block-nodes', undefined, { flat: true });
  const raw = disks.find(({ node }) => nodes.find((one) => one['node-name'] === node)?.drv !== 'qcow2');
  if (raw)
    throw new SkerryError(
      'unsupported',
      'its UEFI variables are in a file that keeps no snapshots: stop it and start it again first',
    );
}

export async function restoreSnapshot(
  at: VmAtHand,
  found: KnownSnapshot,
  signal: AbortSignal,
): Promise<void> {
  const { folder, record, qmp } = at;
  const { name } = found;
  const facts = readFacts(folder, name);
  requireSameMachine(record, name, facts);
  if (!qmp) {
    await requireWhole(at, name, signal);
    writeMark(folder, { doing: 'restore-offline', name });
    return restoreOffline(folder, record, name, signal);
  }
  if (found['vm-state-size'] === 0) {
    const text = `the snapshot "${name}" has no memory, and ${record.spec.name} runs: stop it first`;
    throw new SkerryError('unsupported', text);
  }
  const devices: string[] = []; // UEFI's flash and the TPM are in the memory's state as well
  for (const disk of snapshotDisks(folder, record))
    if ((await snapshotsIn(disk, qmp, signal)).some((one) => one.name === name)) devices.push(disk.node);
  if (facts?.frozen) mayBeFrozen(folder);
  try {
    await runJob(
      qmp,
      (id) =>
        qmp.execute('snapshot-load', undefined, { 'job-id': id, tag: name, vmstate: DISK_NODE, devices }),
      signal,
    );
  } finally {
    await at.thaw();
  }
}

async function restoreOffline(
  folder: VmFolder,
  record: VmRecord,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  for (const { path } of snapshotDisks(folder, record)) await snapshotOffline(path, 'restore', name, signal);
  restoreTpm(folder, name);
  removeMark(folder);
}

/** Its firmware and its TPM are part of what a snapshot is of. */
function requireSameMachine(
  { spec, firmware }: VmRecord,
  name: string,
  facts: SnapshotFacts | undefined,
): void {
  if (!facts) return;
  const { secureBoot = false, tpm = false, boot } = spec.vm ?? {};
  const now = { firmware, secureBoot, tpm, boot: boot !== undefined };
  const then = { boot: false, ...facts };
  const other = (Object.keys(now) as (keyof typeof now)[]).find((key) => then[key] !== now[key]);
  if (other === undefined) return;
  const text = `the snapshot "${name}" is of a machine with spec.vm.${other}: ${then[other]}, and now that is ${now[other]}: set it back first`;
  throw new SkerryError('unsupported', text);
}

/** Of an older version there may be snapshots without UEFI's variables and without the TPM. */
async function requireWhole({ folder, record }: VmAtHand, name: string, signal: AbortSignal): Promise<void> {
  if (readFacts(folder, name)) return;
  const [first] = snapshotDisks(folder, record);
  const hasAll = (await snapshotsIn(first!, undefined, signal)).some((one) => one.name === name);
  if (hasAll && record.spec.vm?.tpm !== true) return;
  const text = `the snapshot "${name}" was taken without UEFI variables or TPM: the disk alone would not go with them`;
  throw new SkerryError('unsupported', text);
}

/** Idempotent. */
export async function removeSnapshot(at: VmAtHand, name: string, signal: AbortSignal): Promise<void> {
  const { folder, record, qmp } = at;
  for (const { node, path } of snapshotDisks(folder, record).reverse()) {
    const found = await snapshotsIn({ node, path }, qmp, signal);
    if (!found.some((one) => one.name === name)) continue;
    if (qmp)
      await runJob(
        qmp,
        (id) => qmp.execute('snapshot-delete', undefined, { 'job-id': id, tag: name, devices: [node] }),
        signal,
      );
    else await snapshotOffline(path, 'remove', name, signal);
  }
  removeBeside(folder, name);
}

/** Brings to an end what was begun: by an agent that ended, or by a step that failed. */
export async function settle(at: VmAtHand, signal: AbortSignal): Promise<void> {
  const { folder, record, qmp } = at;
  const mark = readMark(folder);
  if (!mark) return;
  if (mark.doing === 'restore-offline') {
    if (!qmp) return restoreOffline(folder, record, mark.name, signal);
    return removeMark(folder); // it was begun with a guest that runs now: it goes by what it has
  }
  if (qmp) await endJobs(qmp, signal);
  const isWhole = (await listSnapshots(at, signal)).some((one) => one.name === mark.name);
  if (!isWhole || !readFacts(folder, mark.name)) await removeSnapshot(at, mark.name, signal);
  if (qmp && mark.resume !== undefined && mark.resume === record.startedAtMs) await qmp.execute('cont');
  removeMark(folder);
}
