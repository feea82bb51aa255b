/**
 * The data folder: made, checked and held by one process at a time. All that must survive lies in it; its identity is
 * drawn once and gives every host-wide name.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { SkerryError } from '@skerry/model';
import { type Identity, identityOf } from './identity.ts';
import { isAlive, type ProcessRef, processRef } from './process.ts';

/** Writes a small file so that after a power cut either the old or the new content is there. */
export function writeFileDurably(path: string, content: string, mode = 0o600): void {
  const temporary = `${path}.${process.pid}.new`;
  const file = openSync(temporary, constants.O_CREAT | constants.O_WRONLY | constants.O_TRUNC, mode);
  try {
    writeSync(file, content);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
  const folder = openSync(dirname(path), 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function readJson<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T;
  } catch {
    return undefined;
  }
}

/** The identity of a data folder that exists. Errors: not_running where there is none. */
export function readIdentity(dataDir: string): Identity {
  const path = resolve(dataDir);
  const found = readJson<{ id: string }>(join(path, 'identity.json'));
  if (!found) {
    throw new SkerryError('not_running', `there is no data folder of Skerry at ${path}`);
  }
  return identityOf(found.id, path);
}

/**
 * Opens a data folder, making it where it is missing. Errors: data_folder_invalid with the reason.
 * A folder whose identity file can not be read is never given a new identity: its guests would be orphans.
 */
export function openDataFolder(dataDir: string): Identity {
  const path = isAbsolute(dataDir) ? dataDir : resolve(dataDir);
  const identityPath = join(path, 'identity.json');
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const about = statSync(path);
    if (!about.isDirectory()) throw new Error('it is no folder');
    const uid = process.getuid?.() ?? 0;
    if (about.uid !== uid) throw new Error(`it belongs to user ${about.uid}, not to ${uid}`);
    if ((about.mode & 0o022) !== 0) throw new Error('others may write in it: chmod go-w');
  } catch (cause) {
    throw new SkerryError(
      'data_folder_invalid',
      `the data folder ${path} can not be used: ${(cause as Error).message}`,
      { cause },
    );
  }
  let text: string | undefined;
  try {
    text = readFileSync(identityPath, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  if (text === undefined) {
    const identity = identityOf(randomBytes(4).toString('hex'), path);
    try {
      writeFileDurably(identityPath, `${JSON.stringify({ id: identity.id, version: 1 })}\n`);
    } catch (cause) {
      const full = (cause as NodeJS.ErrnoException).code === 'ENOSPC';
      throw new SkerryError(
        full ? 'disk_full' : 'data_folder_invalid',
        `${identityPath} could not be written: ${(cause as Error).message}`,
        { cause },
      );
    }
    return identity;
  }
  const id = readJson<{ id?: unknown }>(identityPath)?.id;
  if (typeof id !== 'string' || !/^[0-9a-f]{8}$/.test(id)) {
    throw new SkerryError(
      'data_folder_invalid',
      `${identityPath} is damaged: put it back from a copy; it names the guests' host resources`,
    );
  }
  return identityOf(id, path);
}

export interface Hold {
  readonly process: ProcessRef;
  readonly startedAtMs: number;
  /** Address of the HTTPS listener where there is one. */
  readonly listen?: string;
}

const holdPath = (identity: Identity) => join(identity.dataDir, 'skerry.pid');

/** Who runs on this data folder now; undefined where nobody does. */
export function readHold(identity: Identity): Hold | undefined {
  const hold = readJson<Hold>(holdPath(identity));
  return hold?.process && isAlive(hold.process) ? hold : undefined;
}

/** Takes the data folder for this process. Errors: already_running. Returns how to let go. */
export function takeHold(identity: Identity, listen?: string): () => void {
  const other = readHold(identity);
  if (other && other.process.pid !== process.pid) {
    throw new SkerryError(
      'already_running',
      `Skerry runs already on ${identity.dataDir} as process ${other.process.pid}`,
    );
  }
  const self = processRef(process.pid)!;
  const hold: Hold = { process: self, startedAtMs: Date.now(), ...(listen === undefined ? {} : { listen }) };
  writeFileDurably(holdPath(identity), `${JSON.stringify(hold)}\n`);
  mkdirSync(identity.runDir, { recursive: true, mode: 0o711 });
  return () => {
    if (readHold(identity)?.process.pid === process.pid) rmSync(holdPath(identity), { force: true });
  };
}
