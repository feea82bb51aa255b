/**
 * Guests that a runtime has and the ledger does not know: left by a crash, or by an older ledger. They are removed.
 */
import { asSkerryError, type Id, type Millis } from '@skerry/model';
import type { Runtime } from '@skerry/runtimes';
import type { Logger } from '../ports.ts';

const GRACE = 2000 as Millis;

/** Returns how many were removed; one that resists is logged and does not keep the others. */
export async function removeOrphans(
  runtime: Runtime,
  known: (uid: Id<'instance'>) => boolean,
  logger: Logger,
  signal: AbortSignal,
): Promise<number> {
  let removed = 0;
  for (const uid of await runtime.list(signal)) {
    if (known(uid)) continue;
    try {
      const have = await runtime.recover(uid, signal);
      for (const step of runtime.plan(undefined, have, uid, GRACE)) await runtime.apply(step, signal);
      removed++;
      logger.warn({ uid, runtime: runtime.kind }, 'removed a guest that the ledger does not know');
    } catch (thrown) {
      if (signal.aborted) return removed;
      logger.error(
        { err: asSkerryError(thrown), uid, runtime: runtime.kind },
        'an orphan could not be removed',
      );
    }
  }
  return removed;
}
