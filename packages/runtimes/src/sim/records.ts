/**
 * Where simulated guests are kept while agents come and go: in memory, shared by the runtimes of one process; or in a
 * folder, a small file for each guest, where they outlive the process as real guests do.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Id } from '@skerry/model';
import type { SimGuest } from './guest.ts';

export interface SimRecords {
  get(uid: Id<'instance'>): SimGuest | undefined;
  set(uid: Id<'instance'>, guest: SimGuest): void;
  delete(uid: Id<'instance'>): void;
  list(): Id<'instance'>[];
  /** Removes what is kept, and the place itself. */
  clear(): void;
}

export function createSimMemory(): SimRecords {
  const guests = new Map<Id<'instance'>, SimGuest>();
  return {
    get: (uid) => guests.get(uid),
    set: (uid, guest) => void guests.set(uid, guest),
    delete: (uid) => void guests.delete(uid),
    list: () => [...guests.keys()],
    clear: () => guests.clear(),
  };
}

/** One writer at a time: the agent that holds the data folder. */
export function openSimFolder(folder: string): SimRecords {
  const memory = createSimMemory();
  const path = (uid: string) => join(folder, `${uid}.json`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  for (const name of readdirSync(folder)) {
    if (!name.endsWith('.json')) continue;
    const guest = JSON.parse(readFileSync(join(folder, name), 'utf8')) as SimGuest;
    memory.set(guest.spec.uid, guest);
  }
  return {
    ...memory,
    set(uid, guest) {
      memory.set(uid, guest);
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      writeFileSync(`${path(uid)}.new`, JSON.stringify(guest), { mode: 0o600 });
      renameSync(`${path(uid)}.new`, path(uid));
    },
    delete(uid) {
      memory.delete(uid);
      rmSync(path(uid), { force: true });
    },
    clear() {
      memory.clear();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
