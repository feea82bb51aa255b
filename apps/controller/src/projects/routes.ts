/** The requests about projects. */
import type { ProjectManifest } from '@skerry/contract/schema';
import { type Project, SkerryError } from '@skerry/model';
import { type Core, change } from '../core.ts';
import { requireConditions } from '../http/conditions.ts';
import type { HandlersOf } from '../http/handlers.ts';
import { listing } from '../http/listing.ts';
import { manifestOf, patchedManifest } from '../manifests/request.ts';
import { keyOf } from '../state/keys.ts';
import { deleteProject, putProject } from './accept.ts';

export function projectRoutes(core: Core): HandlersOf<'project'> {
  const show = (project: Project): Project => ({
    ...project,
    status: { instances: core.ledger.project(project.metadata.name).instances },
  });
  const answer = (name: string, planned: Project, status = 200) => {
    const stored = core.view.get('projects', name);
    return stored
      ? { body: show(stored), status, revision: stored.metadata.revision }
      : { body: show(planned), status };
  };
  const find = (name: string) => {
    const project = core.view.get('projects', name);
    if (!project) throw new SkerryError('not_found', `there is no project "${name}"`);
    return project;
  };
  return {
    'project.list': async (query, context) => listing(core, 'projects', query, context, { show }),
    'project.show': async ({ project }) => answer(project, find(project)),
    async 'project.put'({ project, body }, { conditions }) {
      const manifest = manifestOf(body, { kind: 'Project', name: project }) as ProjectManifest;
      const { result } = await change(core, [keyOf('projects', project)], true, (draft, world) =>
        putProject(draft, world, manifest, conditions),
      );
      return answer(project, result.resource, result.outcome === 'created' ? 201 : 200);
    },
    async 'project.patch'({ project, body }, { conditions }) {
      const { result } = await change(core, [keyOf('projects', project)], true, (draft, world) => {
        const stored = find(project);
        requireConditions(conditions, stored.metadata.revision, `the project ${project}`);
        return putProject(
          draft,
          world,
          patchedManifest(stored, body, { kind: 'Project', name: project }) as ProjectManifest,
        );
      });
      return answer(project, result.resource);
    },
    async 'project.delete'({ project }, { conditions }) {
      const { result } = await change(core, [keyOf('projects', project)], true, (draft, world) =>
        deleteProject(draft, world, core.view, project, conditions),
      );
      return answer(project, result.resource);
    },
  };
}
