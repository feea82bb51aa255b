import { SkerryError } from '@skerry/model';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { applyPlan, type PlanStep } from './plan.ts';
import { UndoStack } from './undo.ts';

const never = new AbortController().signal;
const steps = (count: number): PlanStep[] => Array.from({ length: count }, (_, i) => ({ do: `step-${i}` }));

describe('plan and apply', () => {
  it('leaves nothing of a plan that failed, wherever it failed, and undoes in reverse', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 12 }), fc.nat({ max: 11 }), async (count, at) => {
        const host: string[] = [];
        const undone: string[] = [];
        const done = applyPlan(
          steps(count),
          async (step, undo) => {
            if (step.do === `step-${at}`) throw new SkerryError('disk_full', 'no space');
            host.push(step.do);
            undo.push(`undo ${step.do}`, async () => {
              undone.push(step.do);
              host.splice(host.indexOf(step.do), 1);
            });
          },
          { signal: never },
        ).then(
          () => 'done',
          (error: SkerryError) => `${error.code} at ${error.details.step}`,
        );
        const before = steps(Math.min(at, count)).map((step) => step.do);
        if (at >= count) return (await done) === 'done' && host.length === count;
        return (
          (await done) === `disk_full at step-${at}` &&
          host.length === 0 &&
          undone.join() === before.reverse().join()
        );
      }),
      { numRuns: 60 },
    );
  });

  it('goes on undoing when one undo fails, and tells what is left', async () => {
    const undo = new UndoStack();
    const ran: string[] = [];
    undo.push('remove the file', async () => void ran.push('file'));
    undo.push('detach the network', () => Promise.reject(new Error('busy')));
    undo.push('unmount', async () => void ran.push('mount'));
    const failures = await undo.unwind();
    expect(ran).toEqual(['mount', 'file']);
    expect(failures.map((failure) => `${failure.what}: ${failure.error.message}`)).toEqual([
      'detach the network: busy',
    ]);
  });

  it('undoes when it is cancelled, but leaves all as it is when the program ends', async () => {
    for (const ending of [false, true]) {
      const cancel = new AbortController();
      const undone: string[] = [];
      const done = applyPlan(
        steps(2),
        async (step, undo) => {
          undo.push(step.do, async () => void undone.push(step.do));
          cancel.abort();
        },
        ending ? { signal: cancel.signal, abandon: cancel.signal } : { signal: cancel.signal },
      );
      await expect(done).rejects.toMatchObject({ code: 'cancelled' });
      expect(undone).toEqual(ending ? [] : ['step-0']);
    }
  });
});
