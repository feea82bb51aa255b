/**
 * The files of one system container. In the data folder: its record, its log, its writable layer. In the run folder (gone after
 * a reboot, as the guest is): LXC's configuration, what skerry-system writes, its console. All that is known of a guest is
 * read from here and from its processes.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { type Identity, type ProcessRef, processesWithArgument, processRef } from '@skerry/host';
import type { Id } from '@skerry/model';
import { parseLogLine } from '../log-lines.ts';
import type { GuestSpec } from '../port.ts';
import type { InitManner } from './init.ts';

export interface SystemRecord {
  readonly spec: GuestSpec;
  /** How its init is started and asked to end; absent while it is being made. */
  readonly init?: InitManner;
  /** First host id of its user namespace. */
  readonly firstId?: number;
  /** Set right before the supervisor is started. */
  readonly startedAtMs?: number;
  /** What was asked of it: kept, so that an agent that starts anew judges its end rightly. */
  readonly asked?: 'stopped' | 'killed';
}

/** As skerry-system wrote it; `monitor`: LXC's monitor was ended by a signal, and init with it. */
export interface SystemEnd {
  readonly how: 'exited' | 'signaled' | 'monitor';
  /** Status or signal. */
  readonly number: number;
  readonly atMs: number;
}

const RECORD = 'system.json';
const RUN = 'l';
const TAIL_BYTES = 16 * 1024;

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // no guest was ever made
  }
}

export class SystemFolder {
  readonly uid: Id<'instance'>;
  /** LXC's path: the folders of all guests, each of the name of its guest. */
  readonly lxcPath: string;
  readonly run: string;
  readonly data: string;
  readonly cgroup: string;

  constructor(identity: Identity, uid: Id<'instance'>) {
    this.uid = uid;
    this.lxcPath = join(identity.runDir, RUN);
    this.run = join(this.lxcPath, uid);
    this.data = join(identity.dataDir, 'guests', uid);
    this.cgroup = `${identity.cgroup}/${uid}`;
  }

  /** The group that LXC makes, and all of the guest's processes are below. */
  get payload(): string {
    return `${this.cgroup}/payload`;
  }
  get rootfs(): string {
    return join(this.run, 'rootfs');
  }
  get console(): string {
    return join(this.run, 'console');
  }
  /** Files of ours that lie over the image: its names, its addresses. */
  get seed(): string {
    return join(this.data, 'seed');
  }
  /** Folder of the writable layer, or the file with its file system where its size is limited. */
  get layer(): string {
    return join(this.data, 'layer');
  }
  get layerImage(): string {
    return join(this.data, 'layer.img');
  }

  make(): void {
    // LXC goes through the run folder as the guest's root, which is nobody here.
    mkdirSync(this.run, { recursive: true, mode: 0o711 });
    mkdirSync(this.data, { recursive: true, mode: 0o700 });
  }

  get exists(): boolean {
    return existsSync(join(this.data, RECORD)) || existsSync(this.run);
  }

  /** Whole or not at all, but not synced: after a power cut no guest runs, whatever its record says. */
  write(record: SystemRecord): void {
    const path = join(this.data, RECORD);
    writeFileSync(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  read(): SystemRecord | undefined {
    try {
      return JSON.parse(textOf(join(this.data, RECORD))) as SystemRecord;
    } catch {
      return undefined;
    }
  }

  /** The guest's init while it lives. A reused id is told by its control group. */
  init(): ProcessRef | undefined {
    const pid = Number(textOf(join(this.run, 'pid')));
    const ref = pid > 0 ? processRef(pid) : undefined;
    return ref && textOf(`/proc/${pid}/cgroup`).includes(`${this.payload}`) ? ref : undefined;
  }

  /** skerry-system, found by the folder in its arguments. */
  supervisors(): ProcessRef[] {
    return processesWithArgument(this.run);
  }

  ended(): SystemEnd | undefined {
    const match = /^(exited|signaled|monitor) (\d+) (\d+)$/.exec(textOf(join(this.run, 'exit')).trim());
    if (!match) return undefined;
    return { how: match[1] as SystemEnd['how'], number: Number(match[2]), atMs: Number(match[3]) };
  }

  /** How often the kernel wanted memory back from it since its start. */
  oomCount(): number {
    return Number(textOf(join(this.run, 'oom'))) || 0;
  }

  /** What a start leaves that is over: so that nobody takes an old end for the new one's. */
  clearRun(): void {
    rmSync(this.run, { recursive: true, force: true });
    this.make();
  }

  /** The last line that it printed. */
  async lastWords(): Promise<string | undefined> {
    const file = await open(join(this.data, 'log')).catch(() => undefined);
    if (!file) return undefined;
    try {
      const { size } = await file.stat();
      const buffer = Buffer.alloc(Math.min(size, TAIL_BYTES));
      const { bytesRead } = await file.read(buffer, 0, buffer.length, Math.max(0, size - TAIL_BYTES));
      const lines = buffer
        .toString('utf8', 0, bytesRead)
        .split('\n')
        .flatMap((line) => parseLogLine(line) ?? []);
      return lines.findLast((line) => line.stream === 'console' && line.text.trim() !== '')?.text;
    } finally {
      await file.close();
    }
  }

  remove(): void {
    rmSync(this.run, { recursive: true, force: true });
    rmSync(this.data, { recursive: true, force: true });
  }

  static list(identity: Identity): Id<'instance'>[] {
    const data = join(identity.dataDir, 'guests');
    const recorded = namesIn(data).filter((uid) => existsSync(join(data, uid, RECORD)));
    return [...new Set([...recorded, ...namesIn(join(identity.runDir, RUN))])] as Id<'instance'>[];
  }
}
