/**
 * What is known of a lab, in one file of its folder: its plan, which wires are cut, where the clients are, which machines are
 * to be on. Every verb reads it, changes it, and writes it before it touches the host; so any process can go on where another
 * one died. Processes and namespaces are not in it: the host is asked for those, by names that only this lab has.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { isAlive, type ProcessRef, processRef, writeFileDurably } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import type { LabPlan } from './plan.ts';

/** A cut: both directions, or only the packets that come from one end. */
export type Cut = { readonly from?: string };

export interface WireChange {
  readonly latencyMs?: number;
  readonly bandwidthBps?: number;
  readonly loss?: number;
}

export interface LabState {
  readonly version: 1;
  /** Eight hex digits, in the name of everything that the lab puts on the machine. */
  readonly id: string;
  readonly name: string;
  /** The lab file's text: `up` with another one is refused while the lab is there. */
  readonly text: string;
  /** The folder that paths of the file begin at. */
  readonly base: string;
  readonly plan: LabPlan;
  readonly cuts: Readonly<Record<string, Cut>>;
  readonly changes: Readonly<Record<string, WireChange>>;
  /** Access point of each client that is attached. */
  readonly attached: Readonly<Record<string, string>>;
  /** Machines that lost their power. */
  readonly off: readonly string[];
  readonly startedAtMs: number;
  /** It was written before the host was made to fit it, and that never came to its end. */
  readonly unfinished?: true;
}

export interface LabFolder {
  readonly path: string;
  readonly statePath: string;
  readonly machine: (name: string) => string;
  readonly dataDir: (name: string) => string;
  readonly client: (name: string) => string;
  readonly wire: (name: string) => string;
}

/** `labsDir`: where all labs of this machine lie. */
export function labFolder(labsDir: string, name: string): LabFolder {
  const path = join(labsDir, name);
  return {
    path,
    statePath: join(path, 'lab.json'),
    machine: (machine) => join(path, 'machines', machine),
    dataDir: (machine) => join(path, 'machines', machine, 'data'),
    client: (client) => join(path, 'clients', client),
    wire: (wire) => join(path, 'wires', wire),
  };
}

/** Names of the labs that are there, also of those half made. */
export function listLabs(labsDir: string): string[] {
  try {
    return readdirSync(labsDir, { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? [entry.name] : [],
    );
  } catch {
    return [];
  }
}

/** Undefined where there is none. Errors: data_folder_invalid where it can not be read. */
export function readLab(folder: LabFolder): LabState | undefined {
  let text: string;
  try {
    text = readFileSync(folder.statePath, 'utf8');
  } catch {
    return undefined;
  }
  try {
    return JSON.parse(text) as LabState;
  } catch (cause) {
    throw new SkerryError(
      'data_folder_invalid',
      `${folder.statePath} is damaged: remove the lab with skerry lab down`,
      { cause },
    );
  }
}

export function writeLab(folder: LabFolder, state: LabState): void {
  writeFileDurably(folder.statePath, `${JSON.stringify(state)}\n`);
}

export const drawLabId = (): string => randomBytes(4).toString('hex');

/** Errors: not_found, naming those that are there; request_invalid where several are and none was named. */
export function chooseLab(labsDir: string, name: string | undefined): LabFolder {
  const names = listLabs(labsDir);
  if (name !== undefined) {
    if (!names.includes(name))
      throw new SkerryError(
        'not_found',
        `there is no lab "${name}"; there is: ${names.join(', ') || 'none'}`,
      );
    return labFolder(labsDir, name);
  }
  if (names.length === 0) throw new SkerryError('not_found', 'no lab is up: skerry lab up FILE makes one');
  if (names.length > 1)
    throw new SkerryError('request_invalid', `several labs are up: add --lab, one of ${names.join(', ')}`);
  return labFolder(labsDir, names[0]!);
}

const LOCK_LIMIT_MS = 120_000;

/** Runs `use` alone among all verbs of this lab, also those of other processes. One that died held nothing. Errors: host_timeout. */
export async function alone<T>(folder: LabFolder, use: () => Promise<T>): Promise<T> {
  const path = join(folder.path, 'lock');
  const until = performance.now() + LOCK_LIMIT_MS;
  while (!take(path)) {
    if (performance.now() > until)
      throw new SkerryError(
        'host_timeout',
        `another command has been working on the lab at ${folder.path} for long`,
      );
    await pause(20);
  }
  try {
    return await use();
  } finally {
    rmSync(path, { force: true });
  }
}

function take(path: string): boolean {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 }); // it may have been removed while we waited
  try {
    const file = openSync(path, 'wx', 0o600);
    writeSync(file, JSON.stringify(processRef(process.pid)));
    closeSync(file);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return false;
    if (code !== 'EEXIST') throw error;
  }
  if (isStale(path)) rmSync(path, { force: true });
  return false;
}

/** A lock that is empty belongs to one that is writing it, or died then: a second is long for a line. */
const WRITING_MS = 1000;

function isStale(path: string): boolean {
  try {
    const text = readFileSync(path, 'utf8');
    if (text === '') return Date.now() - statSync(path).mtimeMs > WRITING_MS;
    return !isAlive(JSON.parse(text) as ProcessRef);
  } catch {
    return false;
  }
}
