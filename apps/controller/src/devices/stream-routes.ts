/** The requests about streams. */
import type { StreamManifest } from '@skerry/contract/schema';
import { type Core, change } from '../core.ts';
import { requireConditions } from '../http/conditions.ts';
import type { HandlersOf } from '../http/handlers.ts';
import { listing, requireListedProject } from '../http/listing.ts';
import { manifestOf, patchedManifest } from '../manifests/request.ts';
import { keyOf } from '../state/keys.ts';
import type { DevicePresence } from './presence.ts';
import { checkStreams, requireOfStream } from './stream-checks.ts';
import { deleteStream, missingStream, putStream } from './streams.ts';
import { tailStream } from './tail.ts';

export function streamRoutes(core: Core, presence: DevicePresence): HandlersOf<'stream'> {
  const { view } = core;
  const show = presence.showStream;
  const answer = (project: string, name: string, status = 200) => {
    const stored = view.get('streams', project, name);
    if (!stored) throw missingStream(project, name);
    return { body: show(stored), status, revision: stored.metadata.revision };
  };
  return {
    async 'stream.list'({ project, ...query }, context) {
      requireListedProject(core, project);
      return listing(core, 'streams', query, context, { project, show });
    },
    'stream.show': async ({ project, name }) => answer(project, name),
    async 'stream.put'({ project, name, body }, { conditions }) {
      const manifest = manifestOf(body, { kind: 'Stream', project, name }) as StreamManifest;
      await checkStreams(manifest);
      const { result } = await change(core, [keyOf('streams', project, name)], true, (draft, world) => {
        const accepted = putStream(draft, world, project, manifest, conditions);
        requireOfStream(draft, project, manifest);
        return accepted;
      });
      return answer(project, name, result.outcome === 'created' ? 201 : 200);
    },
    async 'stream.patch'({ project, name, body }, { conditions }) {
      const patched = (stored: object) =>
        patchedManifest(stored, body, { kind: 'Stream', project, name }) as StreamManifest;
      await checkStreams(patched(answer(project, name).body));
      await change(core, [keyOf('streams', project, name)], true, (draft, world) => {
        const stored = draft.get('streams', project, name);
        if (!stored) throw missingStream(project, name);
        requireConditions(conditions, stored.metadata.revision, `the stream ${name}`);
        const manifest = patched(stored);
        const accepted = putStream(draft, world, project, manifest);
        requireOfStream(draft, project, manifest);
        return accepted;
      });
      return answer(project, name);
    },
    async 'stream.delete'({ project, name }, { conditions }) {
      const { result } = await change(core, [keyOf('streams', project, name)], true, (draft, world) =>
        deleteStream(draft, world, view, project, name, conditions),
      );
      return { body: show(result.resource) };
    },
    'stream.tail': ({ project, name }, { signal }) => tailStream(core, project, name, signal),
  };
}
