/**
 * The system runtime: whole Linux systems with their own init in LXC's containers, each monitor under skerry-system, none a
 * child of ours. Guests of one image share its files; each has its own layer, ids, limits and network.
 */
import { existsSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
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
import type { ConsolePower, ExecPower, GuestEvent, GuestState, GuestStep, Runtime } from '../port.ts';
import { openConsole } from '../qemu/console.ts';
import { openExec } from './exec.ts';
import { Guests } from './guests.ts';
import { layerBytes } from './make-files.ts';
import { OVERHEAD_BYTES } from './memory.ts';
import { probeLxc } from './probe.ts';

type Uid = Id<'instance'>;

export interface LxcLogger {
  warn(fields: object, text: string): void;
}
export interface LxcRuntimeOptions {
  readonly identity: Identity;
  readonly images: ImageContent;
  readonly logger: LxcLogger;
  /** Folder with skerry-system and skerry-pty; default: beside the sources or below the installation. */
  readonly nativeFolder?: string;
}

export function createLxcRuntime(options: LxcRuntimeOptions): Runtime {
  return new LxcRuntime(options);
}

const NATIVE = 'packages/runtimes/native/build';

/** Looks from this file upwards; the last place looked at where it is nowhere, so that a message can name it. */
function findNative(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const place = join(folder, NATIVE);
    if (existsSync(join(place, 'skerry-system')) || folder === dirname(folder)) return place;
  }
}

class LxcRuntime implements Runtime {
  readonly kind = 'system';
  readonly plan = planGuest;
  readonly #identity: Identity;
  readonly #native: string;
  readonly #guests: Guests;
  readonly #logger: LxcLogger;
  readonly #events = new EventQueue();

  readonly console: ConsolePower = {
    open: async (uid, signal) => {
      if (!this.#guests.folder(uid).init())
        throw new SkerryError('guest_not_running', 'the guest does not run: it has no console');
      return openConsole(this.#guests.folder(uid).console, signal);
    },
  };

  readonly exec: ExecPower = {
    exec: async (uid, request) => {
      const folder = this.#guests.folder(uid);
      const record = folder.read();
      if (!record || !folder.init())
        throw new SkerryError('guest_not_running', 'the guest does not run: no command can be run in it');
      return openExec(folder, record, request, join(this.#native, 'skerry-pty'));
    },
  };

  constructor(options: LxcRuntimeOptions) {
    this.#identity = options.identity;
    this.#logger = options.logger;
    this.#native = options.nativeFolder ?? findNative();
    this.#guests = new Guests({
      ...{ identity: options.identity, images: options.images },
      supervisorPath: join(this.#native, 'skerry-system'),
      emit: (event) => this.#events.emit(event),
    });
  }

  async start(): Promise<void> {
    await this.#guests
      .sweepImages()
      .catch((error) =>
        this.#logger.warn({ err: error }, 'unpacked images that nobody needs could not be removed'),
      );
  }

  async stop(): Promise<void> {
    this.#guests.release();
  }

  async destroy(): Promise<void> {
    for (const uid of this.#guests.list()) await this.#guests.remove(uid);
    this.#guests.images.clear();
    rmSync(join(this.#identity.runDir, 'l'), { recursive: true, force: true });
    removeCgroup(this.#identity.cgroup); // what other kinds have in it stays
  }

  probe(signal: AbortSignal): Promise<ProbeFinding[]> {
    return probeLxc(this.#identity, join(this.#native, 'skerry-system'), signal);
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
    const init = folder.init();
    if (!record || !init)
      throw new SkerryError('guest_not_running', 'the guest does not run: there is nothing to measure');
    const { cpuMs = 0, memoryBytes = 0, pids } = cgroupUsage(folder.payload);
    const diskBytes = layerBytes(folder, init.pid);
    return {
      ...{ cpuMs, memoryBytes, memoryLimitBytes: record.spec.memoryBytes },
      ...(pids === undefined ? {} : { pids }),
      ...(diskBytes === undefined ? {} : { diskBytes }),
    };
  }

  async keepLog(uid: Uid, folder: string): Promise<void> {
    moveLog(this.#guests.folder(uid).data, folder);
  }

  logs(uid: Uid, options: LogOptions, signal: AbortSignal): AsyncIterable<LogLine> {
    const folder = this.#guests.folder(uid);
    return logLines(folder.data, options, signal, () => folder.ended() !== undefined || !folder.init());
  }

  overheadBytes(): Bytes {
    return OVERHEAD_BYTES;
  }
}
