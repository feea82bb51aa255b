/**
 * One running guest as we hear of it: the connection to its monitor is held, and its loss tells that the guest ended, or
 * that we have to connect again. `onEnd` is called once, after the supervisor's word came or can come no more. Letting go
 * of it does nothing to the guest.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { connectQmp, type QmpClient } from '@skerry/host';
import type { GuestFolder } from './guest-folder.ts';

/** skerry-run writes the exit file right after QEMU ended; longer than this means that it was killed as well. */
const EXIT_FILE_LIMIT_MS = 1000;
const LOOK_EVERY_MS = 5;
const CONNECT_AGAIN_MS = 500;

export class LiveGuest {
  readonly #folder: GuestFolder;
  readonly #onEnd: () => void;
  #qmp: QmpClient | undefined;
  #released = false;
  #settle!: () => void;
  /** Resolves once its monitor answered for the first time, or it ended. */
  readonly settled = new Promise<void>((resolve) => {
    this.#settle = resolve;
  });

  constructor(folder: GuestFolder, onEnd: () => void) {
    this.#folder = folder;
    this.#onEnd = onEnd;
    void this.#hold();
  }

  /** Undefined while its monitor does not answer. */
  get qmp(): QmpClient | undefined {
    return this.#qmp;
  }

  async #hold(): Promise<void> {
    while (!(await this.#hasEnded()) && !this.#released) {
      try {
        this.#qmp = await connectQmp(this.#folder.path('qmp'), () => undefined);
        if (this.#released) this.#qmp.close();
        this.#settle();
        await this.#qmp.closed;
      } catch {
        // it ends just now, or does not answer: looked at again
      }
      this.#qmp = undefined;
    }
    this.#settle();
    if (this.#released) return;
    this.release();
    this.#onEnd();
  }

  /** Waits a moment for either sign: right after the monitor is lost, neither may be there yet. */
  async #hasEnded(): Promise<boolean> {
    const connectAgainAt = performance.now() + (this.#isFirst() ? 0 : CONNECT_AGAIN_MS);
    const giveUpAt = performance.now() + EXIT_FILE_LIMIT_MS;
    while (!this.#released) {
      if (this.#folder.ended()) return true;
      const now = performance.now();
      if (this.#folder.process()) {
        if (now >= connectAgainAt) return false;
      } else if (now >= giveUpAt) return true;
      await pause(LOOK_EVERY_MS);
    }
    return true;
  }

  #wasTried = false;
  #isFirst(): boolean {
    const first = !this.#wasTried;
    this.#wasTried = true;
    return first;
  }

  release(): void {
    this.#released = true;
    this.#qmp?.close();
  }
}
