/**
 * What Skerry itself keeps of a container on a Docker engine: `<dataDir>/guests/<uid>/docker.json`. The engine knows the rest;
 * this tells what was asked of it and how it ended, also after the agent was started anew.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Identity } from '@skerry/host';
import type { GuestExit, Id } from '@skerry/model';
import type { GuestSpec } from '../port.ts';

export interface DockerRecord {
  readonly spec: GuestSpec;
  /** The engine's own name for it. */
  readonly containerId?: string;
  readonly startedAtMs?: number;
  /** Control group of the container, as it was found when it had started. */
  readonly cgroup?: string;
  /** Its interface has been given to it, and set up. */
  readonly joined?: boolean;
  /** Set before the first signal: an end after it was asked for. */
  readonly stop?: { readonly forced: boolean };
  readonly exit?: GuestExit;
}

const RECORD = 'docker.json';

export class Records {
  readonly #root: string;

  constructor(identity: Identity) {
    this.#root = join(identity.dataDir, 'guests');
  }

  folder(uid: Id<'instance'>): string {
    return join(this.#root, uid);
  }

  read(uid: Id<'instance'>): DockerRecord | undefined {
    try {
      return JSON.parse(readFileSync(join(this.folder(uid), RECORD), 'utf8')) as DockerRecord;
    } catch {
      return undefined;
    }
  }

  /** Whole or not at all, but not synced: after a power cut no container runs, whatever its record says. */
  write(uid: Id<'instance'>, record: DockerRecord): void {
    mkdirSync(this.folder(uid), { recursive: true, mode: 0o700 });
    const path = join(this.folder(uid), RECORD);
    writeFileSync(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  has(uid: Id<'instance'>): boolean {
    return existsSync(join(this.folder(uid), RECORD));
  }

  list(): Id<'instance'>[] {
    try {
      return (readdirSync(this.#root) as Id<'instance'>[]).filter((uid) => this.has(uid));
    } catch {
      return [];
    }
  }

  /** Where there is one. */
  change(uid: Id<'instance'>, change: Partial<DockerRecord>): void {
    const record = this.read(uid);
    if (record) this.write(uid, { ...record, ...change });
  }

  /** A file that the engine reads by its path; goes with the guest. Returns the path. */
  keep(uid: Id<'instance'>, name: string, text: string): string {
    mkdirSync(this.folder(uid), { recursive: true, mode: 0o700 });
    const path = join(this.folder(uid), name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }

  remove(uid: Id<'instance'>): void {
    rmSync(this.folder(uid), { recursive: true, force: true });
  }
}
