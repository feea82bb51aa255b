/** The requests about volumes. */
import type { VolumeManifest } from '@skerry/contract/schema';
import { SkerryError, type Volume } from '@skerry/model';
import { type Core, change } from '../core.ts';
import type { HandlersOf } from '../http/handlers.ts';
import { listing, requireListedProject } from '../http/listing.ts';
import { manifestOf } from '../manifests/request.ts';
import { keyOf } from '../state/keys.ts';
import { deleteVolume, putVolume, usersOf } from './accept.ts';

export function volumeRoutes(core: Core): HandlersOf<'volume'> {
  const show = (volume: Volume): Volume => {
    const { name, project } = volume.metadata;
    const usedBy = usersOf(undefined, core.view, project!, name).map((workload) => workload.metadata.name);
    return { ...volume, status: { ...volume.status, usedBy } };
  };
  const answer = (project: string, name: string, planned?: Volume, status = 200) => {
    const stored = core.view.get('volumes', project, name);
    if (stored) return { body: show(stored), status, revision: stored.metadata.revision };
    if (!planned)
      throw new SkerryError('not_found', `there is no volume "${name}" in the project ${project}`);
    return { body: show(planned), status };
  };
  return {
    async 'volume.list'({ project, ...query }, context) {
      requireListedProject(core, project);
      return listing(core, 'volumes', query, context, { project, show });
    },
    'volume.show': async ({ project, name }) => answer(project, name),
    async 'volume.put'({ project, name, body }, { conditions }) {
      const manifest = manifestOf(body, { kind: 'Volume', project, name }) as VolumeManifest;
      const { result } = await change(core, [keyOf('volumes', project, name)], true, (draft, world) =>
        putVolume(draft, world, project, manifest, conditions),
      );
      return answer(project, name, result.resource, result.outcome === 'created' ? 201 : 200);
    },
    async 'volume.delete'({ project, name }, { conditions }) {
      const { result } = await change(core, [keyOf('volumes', project, name)], true, (draft, world) =>
        deleteVolume(draft, world, core.view, project, name, conditions),
      );
      return answer(project, name, result.resource);
    },
  };
}
