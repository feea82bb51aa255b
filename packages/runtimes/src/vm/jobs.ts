/** Jobs of QEMU's monitor that take their time: started, waited for to their end, taken away (QMP reference, "Background jobs"). */
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { QmpClient } from '@skerry/host';
import { SkerryError } from '@skerry/model';

/** A guest of some GiB is written to a slow disk in minutes. */
const JOB_LIMIT_MS = 600_000;
const LOOK_EVERY_MS = 20;
const OURS = 'skerry-';

const tooSlow = () =>
  new SkerryError('guest_unresponsive', `QEMU did not finish within ${JOB_LIMIT_MS / 1000} s`);

/** `start` gets the job's id. Errors: disk_full, internal with QEMU's words, guest_unresponsive, cancelled. */
export async function runJob(
  qmp: QmpClient,
  start: (id: string) => Promise<unknown>,
  signal: AbortSignal,
): Promise<void> {
  const id = `${OURS}${randomBytes(6).toString('hex')}`;
  await start(id);
  const until = performance.now() + JOB_LIMIT_MS;
  for (;;) {
    const job = (await qmp.execute('query-jobs')).find((one) => one.id === id);
    if (!job || job.status === 'concluded') {
      if (job) await qmp.execute('job-dismiss', undefined, { id });
      if (job?.error === undefined) return;
      if (/No space left/.test(job.error))
        throw new SkerryError('disk_full', 'the host has no room for the snapshot');
      throw new SkerryError('internal', `QEMU could not: ${job.error}`);
    }
    if (performance.now() > until) throw tooSlow();
    await pause(LOOK_EVERY_MS, undefined, { signal });
  }
}

/** Waits for what an agent before this one started, and takes it away. Errors: as of runJob, but for a job's own. */
export async function endJobs(qmp: QmpClient, signal: AbortSignal): Promise<void> {
  const until = performance.now() + JOB_LIMIT_MS;
  for (;;) {
    const jobs = (await qmp.execute('query-jobs')).filter(({ id }) => id.startsWith(OURS));
    if (jobs.length === 0) return;
    for (const { id, status } of jobs)
      if (status === 'concluded') await qmp.execute('job-dismiss', undefined, { id });
    if (performance.now() > until) throw tooSlow();
    await pause(LOOK_EVERY_MS, undefined, { signal });
  }
}
