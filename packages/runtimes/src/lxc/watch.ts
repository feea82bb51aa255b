/**
 * Hears of one running guest's end and of its want of memory: skerry-system writes files, and the kernel tells of them
 * (inotify(7)). Looked at every two seconds as well, for a supervisor that is killed writes nothing. Letting go does nothing.
 */
import { type FSWatcher, watch } from 'node:fs';
import type { SystemFolder } from './guest-folder.ts';

const LOOK_EVERY_MS = 2000;

export class GuestWatch {
  readonly #folder: SystemFolder;
  readonly #onEnd: () => void;
  readonly #onOom: (count: number) => void;
  readonly #timer: NodeJS.Timeout;
  #watcher: FSWatcher | undefined;
  #oomCount: number;
  #released = false;

  /** `onEnd` is called once. */
  constructor(folder: SystemFolder, onEnd: () => void, onOom: (count: number) => void) {
    this.#folder = folder;
    this.#onEnd = onEnd;
    this.#onOom = onOom;
    this.#oomCount = folder.oomCount();
    try {
      this.#watcher = watch(folder.run, { persistent: false }, (_event, name) => {
        if (name === 'exit' || name === 'oom') this.#look();
      });
      this.#watcher.on('error', () => undefined);
    } catch {
      // no watches are left: the timer does it
    }
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS).unref();
    setImmediate(() => this.#look()); // what happened before it was watched
  }

  #look(): void {
    if (this.#released) return;
    const count = this.#folder.oomCount();
    if (count > this.#oomCount) {
      this.#oomCount = count;
      this.#onOom(count);
    }
    if (!this.#folder.ended() && (this.#folder.init() || this.#folder.supervisors().length > 0)) return;
    this.release();
    this.#onEnd();
  }

  release(): void {
    this.#released = true;
    clearInterval(this.#timer);
    this.#watcher?.close();
  }
}
