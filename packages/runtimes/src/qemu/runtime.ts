/**
 * The unikernel runtime: one QEMU for each guest, under skerry-run, none a child of ours. Guests with their own kernel,
 * from a function (pebble) or from any kernel that QEMU boots.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { cgroupUsage, type Identity, removeCgroup } from '@skerry/host';
import type { ImageContent } from '@skerry/images';
import {
  type Bytes,
  type GuestStats,
  type Id,
  type LogLine,
  type LogOptions,
  type ProbeFinding,
  SkerryError,
} from '@skerry/model';
import { EventQueue } from '../event-queue.ts';
import { logLines } from '../log-lines.ts';
import { moveLog } from '../move-log.ts';
import { planGuest } from '../plan-guest.ts';
import type { ConsolePower, GuestEvent, GuestState, GuestStep, Runtime } from '../port.ts';
import { type Acceleration, probeAcceleration } from './acceleration.ts';
import { openConsole } from './console.ts';
import { Guests } from './guests.ts';
import { groupLimits, overheadBytes } from './memory.ts';
import { probeQemu } from './probe.ts';

type Uid = Id<'instance'>;

export interface QemuLogger {
  warn(fields: object, text: string): void;
}
export interface QemuRuntimeOptions {
  readonly identity: Identity;
  readonly images: ImageContent;
  /** pebble.elf: the kernel of functions. */
  readonly kernelPath: string;
  /** skerry-run. */
  readonly supervisorPath: string;
  /** Where Solo5's tenders are looked for; default: the usual folders of programs. */
  readonly programFolders?: readonly string[];
  readonly logger: QemuLogger;
}

export function createQemuRuntime(options: QemuRuntimeOptions): Runtime {
  return new QemuRuntime(options);
}

class QemuRuntime implements Runtime {
  readonly kind = 'unikernel';
  readonly plan = planGuest;
  readonly #options: QemuRuntimeOptions;
  readonly #guests: Guests;
  readonly #events = new EventQueue();
  #acceleration: Promise<Acceleration> | undefined;

  readonly console: ConsolePower = {
    open: async (uid, signal) => {
      const folder = this.#guests.folder(uid);
      if (!folder.process())
        throw new SkerryError('guest_not_running', 'the guest does not run: it has no console');
      return openConsole(folder.path('console'), signal);
    },
  };

  constructor(options: QemuRuntimeOptions) {
    this.#options = options;
    this.#guests = new Guests({
      ...options,
      acceleration: (signal) => this.#accelerated(signal),
      onExit: (uid, exit) => this.#events.emit({ type: 'exited', uid, exit }),
    });
  }

  async start(signal: AbortSignal): Promise<void> {
    const found = await this.#accelerated(signal);
    if (found.reason !== undefined)
      this.#options.logger.warn({ reason: found.reason }, 'guests are emulated');
  }

  async stop(): Promise<void> {
    this.#guests.release();
  }

  async destroy(): Promise<void> {
    const { identity } = this.#options;
    for (const uid of this.#guests.list()) await this.#guests.remove(uid);
    for (const name of ['g', 'probe', 'acceleration.json'])
      rmSync(join(identity.runDir, name), { recursive: true, force: true });
    removeCgroup(identity.cgroup);
  }

  probe(signal: AbortSignal): Promise<ProbeFinding[]> {
    return probeQemu(() => this.#accelerated(signal), signal, this.#options.programFolders);
  }

  async recover(uid: Uid): Promise<GuestState> {
    const state = await this.#guests.state(uid);
    if (state.state === 'running') this.#guests.watch(uid);
    return state;
  }

  async list(): Promise<Uid[]> {
    return this.#guests.list();
  }

  async apply(step: GuestStep, signal: AbortSignal): Promise<GuestState> {
    if (signal.aborted) throw new SkerryError('cancelled', `cancelled before "${step.do}"`);
    switch (step.do) {
      case 'create':
        return this.#guests.create(step.spec, signal);
      case 'start':
        return this.#guests.start(step.uid, signal);
      case 'stop':
        return this.#guests.stop(step.uid, step.graceMs, signal);
      case 'remove':
        return this.#guests.remove(step.uid);
    }
  }

  events(signal: AbortSignal): AsyncIterable<GuestEvent> {
    return this.#events.listen(signal);
  }

  async stats(uid: Uid): Promise<GuestStats> {
    const folder = this.#guests.folder(uid);
    const record = folder.read();
    if (!record || !folder.process())
      throw new SkerryError('guest_not_running', 'the guest does not run: there is nothing to measure');
    const { cpuMs = 0, memoryBytes = 0, pids } = cgroupUsage(folder.cgroup);
    const memoryLimitBytes = groupLimits(record.spec).memoryBytes;
    return { cpuMs, memoryBytes, memoryLimitBytes, ...(pids === undefined ? {} : { pids }) };
  }

  async keepLog(uid: Uid, folder: string): Promise<void> {
    moveLog(this.#guests.folder(uid).data, folder);
  }

  logs(uid: Uid, options: LogOptions, signal: AbortSignal): AsyncIterable<LogLine> {
    const folder = this.#guests.folder(uid);
    return logLines(folder.data, options, signal, () => folder.process() === undefined);
  }

  overheadBytes(memoryBytes: Bytes): Bytes {
    return overheadBytes(memoryBytes);
  }

  #accelerated(signal: AbortSignal): Promise<Acceleration> {
    if (!this.#acceleration) {
      const probing = probeAcceleration(this.#options, signal);
      probing.catch(() => {
        this.#acceleration = undefined; // asked again
      });
      this.#acceleration = probing;
    }
    return this.#acceleration;
  }
}
