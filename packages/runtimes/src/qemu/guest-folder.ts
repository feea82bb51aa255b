/**
 * The files of one guest that QEMU runs. In the data folder: its record and its console log, kept while it exists. In the run folder (gone
 * after a reboot, as the guest is): what skerry-run writes, its sockets. What is there of a guest is read from here alone.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { commandLine, type Identity, type ProcessRef, processesWithArgument, processRef } from '@skerry/host';
import type { Id } from '@skerry/model';
import { parseLogLine } from '../log-lines.ts';
import type { GuestSpec } from '../port.ts';
import type { GuestEnd } from './exit.ts';

export interface GuestRecord {
  readonly spec: GuestSpec;
  /** Set right before the supervisor is started. */
  readonly startedAtMs?: number;
  readonly family: string;
  /** It has a power button that QEMU can press. */
  readonly powerButton: boolean;
  /** What was asked of it: kept, so that an agent that starts anew judges its end rightly. */
  readonly asked?: 'stopped' | 'killed';
}

/** Where the guests of a kind are, below the run folder, and what their record is called: kinds share both folders. */
export interface GuestHome {
  readonly run: string;
  readonly record: string;
}

const UNIKERNELS: GuestHome = { run: 'g', record: 'unikernel.json' };
/** Enough for the last words of any guest. */
const TAIL_BYTES = 16 * 1024;

export class GuestFolder<R extends object = GuestRecord> {
  readonly run: string;
  readonly data: string;
  readonly cgroup: string;
  readonly uid: Id<'instance'>;
  readonly #record: string;

  constructor(identity: Identity, uid: Id<'instance'>, home = UNIKERNELS) {
    this.uid = uid;
    this.#record = home.record;
    this.run = join(identity.runDir, home.run, uid);
    this.data = join(identity.dataDir, 'guests', uid);
    this.cgroup = `${identity.cgroup}/${uid}`;
  }

  path(name: 'qmp' | 'console' | 'pid' | 'exit' | 'vnc' | 'agent' | 'screen.png'): string {
    return join(this.run, name);
  }

  /** An argument in QEMU's command line and in its supervisor's, and in no other. */
  get mark(): string {
    return `guest=${this.uid}`;
  }

  make(): void {
    mkdirSync(this.run, { recursive: true, mode: 0o700 });
    mkdirSync(this.data, { recursive: true, mode: 0o700 });
  }

  get exists(): boolean {
    return existsSync(join(this.data, this.#record)) || existsSync(this.run);
  }

  /** Whole or not at all, but not synced: after a power cut no guest runs, whatever its record says. */
  write(record: R): void {
    const path = join(this.data, this.#record);
    writeFileSync(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  /** Undefined where there is none, or none that can be read. */
  read(): R | undefined {
    try {
      return JSON.parse(readFileSync(join(this.data, this.#record), 'utf8')) as R;
    } catch {
      return undefined;
    }
  }

  /** QEMU's process while it lives. A reused id is told by its command line. */
  process(): ProcessRef | undefined {
    const pid = Number(this.#text('pid'));
    const ref = pid > 0 ? processRef(pid) : undefined;
    return ref && commandLine(ref).includes(this.mark) ? ref : undefined;
  }

  /** QEMU and its supervisor, found by their arguments: for what has no pid file yet, or lost it. */
  processes(): ProcessRef[] {
    return processesWithArgument(this.mark);
  }

  /** As skerry-run wrote it. */
  ended(): GuestEnd | undefined {
    const match = /^(exited|signaled) (\d+) (\d+) (\S+) ([01])$/.exec(this.#text('exit').trim());
    if (!match) return undefined;
    const [, how, number, atMs, shutdown, panicked] = match;
    return {
      how: how as GuestEnd['how'],
      number: Number(number),
      atMs: Number(atMs),
      ...(shutdown === '-' ? {} : { shutdown: shutdown! }),
      panicked: panicked === '1',
    };
  }

  /** The end of the log: what the guest printed (c) and what QEMU itself said (e), oldest first. */
  async tail(): Promise<{ console: string[]; errors: string[] }> {
    const lines = (await lastText(join(this.data, 'log')))
      .split('\n')
      .flatMap((line) => parseLogLine(line) ?? []);
    const of = (stream: string) => lines.filter((line) => line.stream === stream).map((line) => line.text);
    return { console: of('console'), errors: of('stderr') };
  }

  #text(name: 'pid' | 'exit'): string {
    try {
      return readFileSync(this.path(name), 'utf8');
    } catch {
      return '';
    }
  }

  /** Nobody takes the end of the run before for that of the next. It has ended. */
  clearRun(): void {
    rmSync(this.run, { recursive: true, force: true });
    this.make();
  }

  /** What it wrote tells how it ended: nothing of another run may be among it. */
  clearLog(): void {
    for (const name of ['log', 'log.1']) rmSync(join(this.data, name), { force: true });
  }

  remove(): void {
    rmSync(this.run, { recursive: true, force: true });
    rmSync(this.data, { recursive: true, force: true });
  }

  static list(identity: Identity, home = UNIKERNELS): Id<'instance'>[] {
    const names = (folder: string) => {
      try {
        return readdirSync(folder);
      } catch {
        return []; // no guest was ever made
      }
    };
    const data = join(identity.dataDir, 'guests');
    const recorded = names(data).filter((uid) => existsSync(join(data, uid, home.record)));
    return [...new Set([...recorded, ...names(join(identity.runDir, home.run))])] as Id<'instance'>[];
  }
}

async function lastText(path: string): Promise<string> {
  const file = await open(path).catch(() => undefined);
  if (!file) return '';
  try {
    const { size } = await file.stat();
    const from = Math.max(0, size - TAIL_BYTES);
    const buffer = Buffer.alloc(Math.min(size, TAIL_BYTES));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, from);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}
