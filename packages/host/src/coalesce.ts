/**
 * Group commit for host changes: what is asked while a batch runs goes together into the next one, so that a hundred
 * callers at once cost a few programs, not a hundred. Order of asking is kept; one batch runs at a time.
 */

interface Waiting<Job, Result> {
  readonly job: Job;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * `apply` gets one or more jobs and answers each in the same order; when it throws, all callers of the batch get the
 * error. At most `limit` jobs share a batch.
 */
export function coalesce<Job, Result>(
  apply: (jobs: readonly Job[]) => Promise<readonly Result[]>,
  limit = 64,
): (job: Job) => Promise<Result> {
  const waiting: Waiting<Job, Result>[] = [];
  let running = false;

  const drain = async () => {
    running = true;
    while (waiting.length > 0) {
      const batch = waiting.splice(0, limit);
      try {
        const results = await apply(batch.map((entry) => entry.job));
        batch.forEach((entry, index) => {
          entry.resolve(results[index]!);
        });
      } catch (error) {
        for (const entry of batch) entry.reject(error);
      }
    }
    running = false;
  };

  return (job) =>
    new Promise<Result>((resolve, reject) => {
      waiting.push({ job, resolve, reject });
      if (!running) void drain();
    });
}
