/**
 * One running guest as we hear of it: its monitor for events and commands, its folder for the exit file. Whichever tells
 * first that it ended, `onEnd` is called once. Letting go of it does nothing to the guest.
 */
import { type FSWatcher, watch } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { connectQmp, type ProcessRef, type QmpClient, type QmpEvent } from '@skerry/host';
import type { GuestFolder } from './guest-folder.ts';

/** skerry-run writes the exit file right after QEMU ended; longer than this means that it was killed as well. */
const EXIT_FILE_LIMIT_MS = 1000;

export class LiveGuest {
  readonly folder: GuestFolder;
  readonly process: ProcessRef;
  readonly #onEnd: () => void;
  #qmp: QmpClient | undefined;
  #watcher: FSWatcher | undefined;
  #released = false;
  shutdown: string | undefined;
  panicked = false;

  constructor(folder: GuestFolder, process: ProcessRef, onEnd: () => void) {
    this.folder = folder;
    this.process = process;
    this.#onEnd = onEnd;
  }

  /** Errors: unavailable where the monitor does not answer. */
  async attach(): Promise<QmpClient> {
    this.#watcher = watch(this.folder.run, (_event, name) => {
      if (name === 'exit') this.#ended();
    });
    this.#watcher.on('error', () => undefined);
    this.#qmp = await connectQmp(this.folder.path('qmp'), (event) => this.#hear(event));
    void this.#qmp.closed.then(() => this.#monitorClosed());
    return this.#qmp;
  }

  get qmp(): QmpClient | undefined {
    return this.#qmp;
  }

  #hear({ event, data }: QmpEvent): void {
    if (event === 'SHUTDOWN') this.shutdown = String(data.reason ?? '');
    else if (event === 'GUEST_PANICKED' || event === 'GUEST_CRASHLOADED') this.panicked = true;
  }

  async #monitorClosed(): Promise<void> {
    // The exit file comes a moment later; without a supervisor it never does.
    const until = performance.now() + EXIT_FILE_LIMIT_MS;
    while (!this.#released && !this.folder.ended() && performance.now() < until) await pause(10);
    this.#ended();
  }

  #ended(): void {
    if (this.#released || (this.folder.process() && !this.folder.ended())) return;
    this.release();
    this.#onEnd();
  }

  release(): void {
    this.#released = true;
    this.#watcher?.close();
    this.#qmp?.close();
  }
}
