/** What a project may have at most. Pure. */
import { formatBytes, type Project, parseBytes, SkerryError } from '@skerry/model';
import type { Ledger, Taken } from './ledger.ts';

/** Only what grows is refused: a project that is over its quota already can still be made smaller. */
export function checkQuota(project: Project | undefined, before: Taken, ledger: Ledger): void {
  const quota = project?.spec.quota;
  if (!project || !quota) return;
  const { name } = project.metadata;
  const taken = ledger.project(name);
  const memory = quota.memory === undefined ? undefined : parseBytes(quota.memory);
  const rows = [
    ['instances', before.instances, taken.instances, quota.instances, String],
    ['cpus', before.cpus, taken.cpus, quota.cpus, String],
    ['of memory', before.memoryBytes, taken.memoryBytes, memory, formatBytes],
  ] as const;
  for (const [what, had, would, allowed, show] of rows) {
    if (allowed === undefined || would <= allowed || would <= had) continue;
    throw new SkerryError(
      'quota_exceeded',
      `the project ${name} would have ${show(would)} ${what}, and its quota is ${show(allowed)}`,
      { details: { project: name, what, would, allowed } },
    );
  }
}
