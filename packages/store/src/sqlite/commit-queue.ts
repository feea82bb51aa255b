/**
 * Writers that come in the same turn share one commit, and so one sync. Each one's step is judged and written in order
 * inside it, and no promise resolves before it. A step that fails does not spoil the others.
 */
import { SkerryError } from '@skerry/model';
import type { Revision, TxnResult, WatchBatch, WatchEvent } from '../port.ts';

/**
 * Writes as revision `next`; without events that revision is not used. A SkerryError says that nothing was written;
 * after any other error the whole commit is rolled back and each step of it is done alone.
 */
export type Step = (next: Revision) => {
  readonly succeeded: boolean;
  readonly events: readonly WatchEvent[];
};

interface Waiting {
  readonly step: Step;
  readonly weightBytes: number;
  readonly resolve: (result: TxnResult) => void;
  readonly reject: (error: unknown) => void;
}

export interface CommitTarget {
  begin(): void;
  /** After the steps, before the commit. */
  finish(at: Revision): void;
  commit(): void;
  /** Never throws. */
  rollback(): void;
  /** It is durable; told in order, before the promises resolve. */
  committed(at: Revision, batches: readonly WatchBatch[]): void;
  translate(error: unknown): unknown;
  /** After a commit that failed with this, as translated: whether it is worth another try. Never throws. */
  relieve(error: unknown): boolean;
}

export interface CommitQueue {
  submit(step: Step, weightBytes: number): Promise<TxnResult>;
  /** Commits what is waiting, now. */
  drain(): void;
  readonly revision: Revision;
  readonly commits: number;
  readonly steps: number;
}

/** What shares a commit at the most: bounds the time in which the event loop is not served, and the write-ahead log. */
const BATCH_STEPS = 64;
const BATCH_BYTES = 4 * 1024 * 1024;

export function createCommitQueue(startRevision: Revision, target: CommitTarget): CommitQueue {
  let waiting: Waiting[] = [];
  let scheduled = false;
  let revision = startRevision;
  let commits = 0;
  let steps = 0;

  /** All of `group` in one commit. Throws with nothing written. */
  const commitAll = (group: readonly Waiting[]) => {
    const answers: (TxnResult | SkerryError)[] = [];
    const batches: WatchBatch[] = [];
    let at = revision;
    try {
      target.begin();
      for (const { step } of group) {
        try {
          const { succeeded, events } = step(at + 1);
          if (events.length > 0) batches.push({ revision: ++at, events });
          answers.push({ succeeded, revision: at });
        } catch (error) {
          if (!(error instanceof SkerryError)) throw error;
          answers.push(error);
        }
      }
      target.finish(at);
      target.commit();
    } catch (error) {
      target.rollback();
      throw target.translate(error);
    }
    return { answers, batches, at };
  };

  const commitRelieved = (group: readonly Waiting[]) => {
    try {
      return commitAll(group);
    } catch (error) {
      if (!target.relieve(error)) throw error;
      return commitAll(group);
    }
  };

  const settle = (group: readonly Waiting[]) => {
    let done: ReturnType<typeof commitAll>;
    try {
      done = commitRelieved(group);
    } catch (error) {
      if (group.length === 1) group[0]!.reject(error);
      else for (const one of group) settle([one]);
      return;
    }
    commits++;
    revision = done.at;
    target.committed(done.at, done.batches);
    group.forEach((one, i) => {
      const answer = done.answers[i]!;
      if (answer instanceof SkerryError) one.reject(answer);
      else {
        steps++;
        one.resolve(answer);
      }
    });
  };

  const next = (): readonly Waiting[] => {
    let count = 0;
    let bytes = 0;
    for (const { weightBytes } of waiting) {
      bytes += weightBytes;
      if (count > 0 && (count === BATCH_STEPS || bytes > BATCH_BYTES)) break;
      count++;
    }
    const group = waiting.slice(0, count);
    waiting = waiting.slice(count);
    return group;
  };

  const flush = () => {
    scheduled = false;
    const group = next();
    if (waiting.length > 0) schedule();
    if (group.length > 0) settle(group);
  };
  const schedule = () => {
    if (scheduled) return;
    scheduled = true;
    setImmediate(flush);
  };

  return {
    submit(step, weightBytes) {
      return new Promise((resolve, reject) => {
        waiting.push({ step, weightBytes, resolve, reject });
        schedule();
      });
    },
    drain() {
      while (waiting.length > 0) settle(next());
    },
    get revision() {
      return revision;
    },
    get commits() {
      return commits;
    },
    get steps() {
      return steps;
    },
  };
}
