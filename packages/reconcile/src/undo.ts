/**
 * What takes back changes of the host, in reverse order. Every step that changes something pushes its undo first or at
 * once; a failure unwinds, a success forgets. An undo that fails does not keep the others from running.
 */
import { asSkerryError, type SkerryError } from '@skerry/model';

interface Undo {
  readonly what: string;
  readonly run: () => Promise<void>;
}

export interface UndoFailure {
  readonly what: string;
  readonly error: SkerryError;
}

export class UndoStack {
  #undos: Undo[] = [];

  /** `what` in words that fit "could not …": `detach the network`. */
  push(what: string, run: () => Promise<void>): void {
    this.#undos.push({ what, run });
  }

  /** From here on nothing of what was done is to be taken back. */
  forget(): void {
    this.#undos = [];
  }

  get size(): number {
    return this.#undos.length;
  }

  /** Runs all, last first; returns what failed. */
  async unwind(): Promise<UndoFailure[]> {
    const failures: UndoFailure[] = [];
    for (let undo = this.#undos.pop(); undo; undo = this.#undos.pop()) {
      try {
        await undo.run();
      } catch (thrown) {
        failures.push({ what: undo.what, error: asSkerryError(thrown) });
      }
    }
    return failures;
  }
}
