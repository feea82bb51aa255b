/** Checks that several kinds share. */
import { type Project, SkerryError } from '@skerry/model';
import type { Draft } from '../state/draft.ts';
import { keyOf } from '../state/keys.ts';

/** The project that something is to be made in. Errors: not_found, phase_forbids. */
export function requireProject(draft: Draft, name: string): Project {
  const project = draft.get('projects', name);
  if (!project)
    throw new SkerryError('not_found', `there is no project "${name}"`, {
      details: { field: 'metadata.project' },
    });
  refuseDeleted(project, `the project ${name}`);
  draft.need(keyOf('projects', name));
  return project;
}

/** Errors: phase_forbids. */
export function refuseDeleted(resource: { metadata: { deletedAt?: string } }, what: string): void {
  if (resource.metadata.deletedAt === undefined) return;
  throw new SkerryError('phase_forbids', `${what} is being deleted: it can be made again when it is gone`);
}
