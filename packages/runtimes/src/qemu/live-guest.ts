/**
 * One running guest as we hear of it: the connection to its monitor is held, and its loss tells that the guest ended, or
 * that we have to connect again. `onEnd` is called once, after the supervisor's word came or can come no more. Letting go
 * of it does nothing to the guest.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { connectQmp, type QmpClient, type QmpEvent } from '@skerry/host';
import type { GuestFolder } from './guest-folder.ts';

type Folder = Pick<GuestFolder, 'path' | 'ended' | 'process'>;

export interface LiveGuestEars {
  onEnd(): void;
  onEvent?(event: QmpEvent): void;
  /** Each time that its monitor answers anew: what happened before was not heard. */
  onConnected?(qmp: QmpClient): void;
}

/** skerry-run writes the exit file right after QEMU ended; longer than this means that it was killed as well. */
const EXIT_FILE_LIMIT_MS = 1000;
const LOOK_EVERY_MS = 5;
const CONNECT_AGAIN_MS = 500;

export class LiveGuest {
  readonly #folder: Folder;
  readonly #ears: LiveGuestEars;
  #qmp: QmpClient | undefined;
  #released = false;
  #settle!: () => void;
  /** Resolves once its monitor answered for the first time, or it ended. */
  readonly settled = new Promise<void>((resolve) => {
    this.#settle = resolve;
  });

  constructor(folder: Folder, ears: LiveGuestEars) {
    this.#folder = folder;
    this.#ears = ears;
    void this.#hold();
  }

  /** Undefined while its monitor does not answer. */
  get qmp(): QmpClient | undefined {
    return this.#qmp;
  }

  async #hold(): Promise<void> {
    while (!(await this.#hasEnded()) && !this.#released) {
      try {
        this.#qmp = await connectQmp(this.#folder.path('qmp'), (event) => this.#ears.onEvent?.(event));
        if (this.#released) this.#qmp.close();
        else {
          void letBegin(this.#qmp);
          this.#ears.onConnected?.(this.#qmp);
        }
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
    this.#ears.onEnd();
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

/** It waits (-S) for its supervisor's word, which is lost where the supervisor was killed before QEMU had read it. */
async function letBegin(qmp: QmpClient): Promise<void> {
  try {
    const { status } = await qmp.execute('query-status');
    if (status === 'prelaunch') await qmp.execute('cont');
  } catch {
    // it ends just now, or its monitor is lost: asked again at the next connection
  }
}
