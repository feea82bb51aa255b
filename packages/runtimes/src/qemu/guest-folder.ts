/**
 * The files of one guest. In the run folder (gone after a reboot, as the guest is): what it was made from, and what
 * skerry-run writes. In the data folder: its console log.
 */
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  commandLine,
  type Identity,
  isAlive,
  type ProcessRef,
  processRef,
  writeFileDurably,
} from '@skerry/host';
import type { Id } from '@skerry/model';
import type { GuestSpec } from '../port.ts';
import type { ExitEvidence } from './exit.ts';

export interface GuestFile {
  readonly spec: GuestSpec;
  readonly createdAtMs: number;
  /** What was asked of it: kept, so that an agent that starts anew judges its end rightly. */
  readonly asked?: 'stopped' | 'killed';
}

export class GuestFolder {
  readonly run: string;
  readonly data: string;
  readonly cgroup: string;

  constructor(
    identity: Identity,
    readonly uid: Id<'instance'>,
  ) {
    this.run = join(identity.runDir, 'g', uid);
    this.data = join(identity.dataDir, 'guests', uid);
    this.cgroup = `${identity.cgroup}/${uid}`;
  }

  path(name: 'qmp' | 'console' | 'pid' | 'exit' | 'guest.json'): string {
    return join(this.run, name);
  }

  async make(file: GuestFile): Promise<void> {
    await mkdir(this.run, { recursive: true, mode: 0o700 });
    await mkdir(this.data, { recursive: true, mode: 0o700 });
    this.write(file);
  }

  write(file: GuestFile): void {
    writeFileDurably(this.path('guest.json'), JSON.stringify(file));
  }

  read(): GuestFile | undefined {
    try {
      return JSON.parse(readFileSync(this.path('guest.json'), 'utf8')) as GuestFile;
    } catch {
      return undefined;
    }
  }

  /** QEMU's process while it lives. A reused id is told by its command line: it names this guest. */
  process(): ProcessRef | undefined {
    const pid = Number(this.#text('pid'));
    const ref = pid > 0 ? processRef(pid) : undefined;
    if (!ref || !isAlive(ref)) return undefined;
    return commandLine(ref).includes(`guest=${this.uid}`) ? ref : undefined;
  }

  get wasStarted(): boolean {
    return existsSync(this.path('pid'));
  }

  ended(): ExitEvidence['ended'] {
    const match = /^(exited|signaled) (\d+) (\d+)$/.exec(this.#text('exit').trim());
    return match
      ? { how: match[1] as 'exited' | 'signaled', number: Number(match[2]), atMs: Number(match[3]) }
      : undefined;
  }

  #text(name: 'pid' | 'exit'): string {
    try {
      return readFileSync(this.path(name), 'utf8');
    } catch {
      return '';
    }
  }

  async remove(): Promise<void> {
    await rm(this.run, { recursive: true, force: true });
    await rm(this.data, { recursive: true, force: true });
  }

  static async list(identity: Identity): Promise<Id<'instance'>[]> {
    const names = await readdir(join(identity.runDir, 'g')).catch(() => []);
    return names as Id<'instance'>[];
  }
}
