/**
 * That something is being done with a snapshot: written before it begins, gone when it is over. Found by an agent that
 * starts anew, it tells what has to be brought to an end.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { VmFolder } from './record.ts';

export interface SnapshotMark {
  readonly doing: 'take' | 'restore-offline';
  readonly name: string;
  /** The run that was made to hold still for it, and has to go on: `startedAtMs` of the record. */
  readonly resume?: number;
}

const markOf = (folder: VmFolder) => join(folder.data, 'snapshot-under-way.json');

export function readMark(folder: VmFolder): SnapshotMark | undefined {
  try {
    return JSON.parse(readFileSync(markOf(folder), 'utf8')) as SnapshotMark;
  } catch {
    return undefined;
  }
}

export function writeMark(folder: VmFolder, mark: SnapshotMark): void {
  writeFileSync(`${markOf(folder)}.new`, JSON.stringify(mark), { mode: 0o600 });
  renameSync(`${markOf(folder)}.new`, markOf(folder));
}

export const removeMark = (folder: VmFolder): void => rmSync(markOf(folder), { force: true });
