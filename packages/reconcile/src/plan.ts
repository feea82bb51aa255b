/**
 * Plan, then apply: a plan is data that a pure function made; applying it makes no choices.
 * A step that fails takes back what its plan has done so far, unless the caller is on its way out (see `abandon`).
 */
import { asSkerryError, SkerryError } from '@skerry/model';
import { UndoStack } from './undo.ts';

export interface PlanStep {
  readonly do: string;
}

export type ApplyStep<S extends PlanStep> = (step: S, undo: UndoStack) => Promise<void>;

export interface ApplyOptions {
  readonly signal: AbortSignal;
  /** Aborted when the program ends: what was begun stays as it is, for the next run takes it up from there. */
  readonly abandon?: AbortSignal;
}

/** Errors: those of `apply`, with `details.step` and, where undoing failed as well, `details.undo`; cancelled. */
export async function applyPlan<S extends PlanStep>(
  steps: readonly S[],
  apply: ApplyStep<S>,
  options: ApplyOptions,
): Promise<void> {
  const undo = new UndoStack();
  for (const step of steps) {
    try {
      if (options.signal.aborted)
        throw new SkerryError('cancelled', `cancelled before the step "${step.do}"`);
      await apply(step, undo);
    } catch (thrown) {
      const error = asSkerryError(thrown);
      if (options.abandon?.aborted) throw error;
      const failures = await undo.unwind();
      const details = { ...error.details, step: step.do };
      if (failures.length === 0) throw new SkerryError(error.code, error.message, { cause: thrown, details });
      const left = failures.map((failure) => `could not ${failure.what}: ${failure.error.message}`);
      throw new SkerryError(error.code, error.message, {
        cause: thrown,
        details: { ...details, undo: left },
      });
    }
  }
}
