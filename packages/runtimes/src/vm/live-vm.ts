/**
 * One running virtual machine as we hear of it: whether it holds still and why. One whose disk could not be written for
 * want of room goes on by itself: the free space is looked at now and then, never in a hurry.
 *
 *   running --asked--> paused (asked) --asked--> running
 *   running --no room--> paused (disk-full) --room again--> running
 *   running --other error--> paused (io-error) --asked--> running
 */
import { statfsSync } from 'node:fs';
import type { QmpClient, QmpEvent } from '@skerry/host';
import { LiveGuest } from '../qemu/live-guest.ts';
import { AgentLine } from './agent-line.ts';
import { AGENT } from './command-line.ts';
import { Thaw } from './freeze.ts';
import { addressesIn, GuestAddresses } from './guest-addresses.ts';
import type { VmFolder } from './record.ts';

export type PausedWhy = 'asked' | 'disk-full' | 'io-error';

export interface LiveVmOptions {
  readonly folder: VmFolder;
  /** Files on the file systems that its disks are on. */
  readonly disks: readonly string[];
  readonly onEnd: () => void;
  readonly onPaused: (message: string) => void;
  readonly onResumed: (message: string) => void;
  /** It says other addresses than before. */
  readonly onAddresses: () => void;
  /** Its monitor answers: what was begun and not ended can be. */
  readonly onConnected: () => void;
  readonly lookEveryMs?: number;
}

const LOOK_EVERY_MS = 2000;
/** Less would be full again at the next write of a busy guest. */
const ROOM_BYTES = 16 * 1024 * 1024;

const MESSAGES = {
  'disk-full': 'it holds still: the host has no room for what it writes; it goes on when there is room again',
  'io-error': 'it holds still: the host could not read or write its disk; resume it when the cause is gone',
};

export class LiveVm {
  readonly live: LiveGuest;
  readonly agent: AgentLine;
  readonly #addresses: GuestAddresses;
  readonly #thaw: Thaw;
  #hasAgent = false;
  readonly #options: LiveVmOptions;
  #paused: PausedWhy | undefined;
  #fault: 'disk-full' | 'io-error' | undefined;
  #timer: NodeJS.Timeout | undefined;
  #released = false;
  #know!: () => void;
  /** Resolves once it is known whether it runs or holds still, or that it ended. */
  readonly known = new Promise<void>((resolve) => {
    this.#know = resolve;
  });

  constructor(options: LiveVmOptions) {
    this.#options = options;
    this.agent = new AgentLine(options.folder.path(AGENT));
    this.#thaw = new Thaw(options.folder, this.agent);
    this.#addresses = new GuestAddresses({
      ask: async () => {
        await this.agent.free();
        return addressesIn(await this.agent.use((agent) => agent.execute('guest-network-get-interfaces')));
      },
      onChange: options.onAddresses,
    });
    this.live = new LiveGuest(options.folder, {
      onEnd: () => {
        this.release();
        options.onEnd();
      },
      onEvent: (event) => this.#hear(event),
      onConnected: (qmp) => void this.#learn(qmp),
    });
  }

  get qmp(): QmpClient | undefined {
    return this.live.qmp;
  }

  /** An agent inside has opened its port. */
  get hasAgent(): boolean {
    return this.#hasAgent;
  }

  /** By the agent inside; undefined where none has told. */
  get addresses(): readonly string[] | undefined {
    return this.#addresses.known;
  }

  /** Lets its file systems go on, where they may be held still; tried again by itself until they do. */
  async thaw(): Promise<void> {
    await this.#thaw.now();
  }

  #agentIsThere(is: boolean): void {
    this.#hasAgent = is;
    this.#addresses.agentIsThere(is);
    if (is) void this.#thaw.now();
  }

  get paused(): PausedWhy | undefined {
    return this.#paused;
  }

  /** What was missed before the connection. */
  async #learn(qmp: QmpClient): Promise<void> {
    try {
      const { status } = await qmp.execute('query-status');
      if (status === 'io-error') {
        const blocks = await qmp.execute('query-block');
        const isFull = blocks.some((block) => block['io-status'] === 'nospace');
        this.#hold(isFull ? 'disk-full' : 'io-error');
      } else this.#paused = status === 'paused' ? 'asked' : undefined;
      const devices = await qmp.execute('query-chardev');
      this.#agentIsThere(devices.some((one) => one.label === AGENT && one['frontend-open']));
    } catch {
      // it ends just now, or its monitor is lost: asked again at the next connection
    }
    this.#know();
    this.#options.onConnected();
  }

  #hear({ event, data }: QmpEvent): void {
    if (event === 'BLOCK_IO_ERROR' && data.action === 'stop') {
      this.#fault = data.nospace === true ? 'disk-full' : 'io-error';
      if (this.#paused !== undefined) this.#hold(this.#fault);
    } else if (event === 'STOP') this.#hold(this.#fault ?? 'asked');
    else if (event === 'RESUME') this.#goOn();
    else if (event === 'VSERPORT_CHANGE' && data.id === AGENT) this.#agentIsThere(data.open === true);
  }

  #hold(why: PausedWhy): void {
    if (this.#paused === why) return;
    this.#paused = why;
    if (why === 'asked') return;
    this.#options.onPaused(MESSAGES[why]);
    if (why === 'disk-full') this.#lookLater();
  }

  #goOn(): void {
    const was = this.#paused;
    this.#paused = undefined;
    this.#fault = undefined;
    clearTimeout(this.#timer);
    if (was === 'disk-full') this.#options.onResumed('it goes on: there is room for its disk again');
    else if (was === 'io-error') this.#options.onResumed('it goes on');
  }

  #lookLater(): void {
    clearTimeout(this.#timer);
    if (this.#released) return;
    const everyMs = this.#options.lookEveryMs ?? LOOK_EVERY_MS;
    this.#timer = setTimeout(() => void this.#look(), everyMs).unref();
  }

  async #look(): Promise<void> {
    if (this.#paused !== 'disk-full' || this.#released) return;
    if (this.#options.disks.every(hasRoom)) await this.qmp?.execute('cont').catch(() => undefined);
    if (this.#paused === 'disk-full') this.#lookLater();
  }

  release(): void {
    this.#released = true;
    clearTimeout(this.#timer);
    this.#thaw.release();
    this.#addresses.release();
    this.live.release();
    this.#know();
  }
}

function hasRoom(path: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize >= ROOM_BYTES;
  } catch {
    return true; // not to be measured: the guest finds out
  }
}
