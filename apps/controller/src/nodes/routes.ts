/** The requests about nodes. */
import type { NodeManifest } from '@skerry/contract/schema';
import { type Node, SkerryError } from '@skerry/model';
import { type Core, change } from '../core.ts';
import { requireConditions } from '../http/conditions.ts';
import type { HandlersOf } from '../http/handlers.ts';
import { listing } from '../http/listing.ts';
import { patchedManifest } from '../manifests/request.ts';
import { keyOf } from '../state/keys.ts';
import { same, touched } from '../state/resource.ts';
import { putNode } from './accept.ts';
import { removeNode } from './remove.ts';

type NodeHandlers = Pick<
  HandlersOf<'node'>,
  'node.list' | 'node.show' | 'node.patch' | 'node.drain' | 'node.undrain' | 'node.delete'
>;

export function nodeRoutes(core: Core): NodeHandlers {
  const show = (node: Node): Node => {
    const { cpus, memoryBytes, instances } = core.ledger.node(node.metadata.name);
    return { ...node, status: { ...node.status, allocated: { cpus, memoryBytes, instances } } };
  };
  const find = (name: string) => {
    const node = core.view.get('nodes', name);
    if (!node) throw new SkerryError('not_found', `there is no node "${name}"`);
    return node;
  };
  const answer = (name: string) => {
    const node = find(name);
    return { body: show(node), revision: node.metadata.revision };
  };
  const setDrain = async (name: string, drain: boolean) => {
    await change(core, [keyOf('nodes', name)], true, (draft, world) => {
      const stored = find(name);
      const { drain: _, ...rest } = stored.spec;
      const spec = drain ? { ...rest, drain } : rest;
      if (same(spec, stored.spec)) return;
      draft.put(keyOf('nodes', name), {
        ...stored,
        spec,
        metadata: touched(stored.metadata, world.now, { spec: true }),
      });
      const [reason, message] = drain
        ? ['Drained', `the instances of node ${name} are moved away`]
        : ['Undrained', `node ${name} takes instances again`];
      draft.event({ type: 'normal', reason: reason!, message: message!, about: { kind: 'Node', name } });
    });
    return answer(name);
  };
  return {
    'node.drain': ({ name }) => setDrain(name, true),
    'node.undrain': ({ name }) => setDrain(name, false),
    async 'node.delete'({ name, force = false }) {
      const { result } = await change(
        core,
        [keyOf('nodes', name), keyOf('node-keys', name)],
        true,
        (draft, world) => removeNode(core, draft, world, name, force),
      );
      return { body: show(result) };
    },
    'node.list': async (query, context) => listing(core, 'nodes', query, context, { show }),
    'node.show': async ({ name }) => answer(name),
    async 'node.patch'({ name, body }, { conditions }) {
      await change(core, [keyOf('nodes', name)], true, (draft, world) => {
        const stored = find(name);
        requireConditions(conditions, stored.metadata.revision, `the node ${name}`);
        return putNode(draft, world, patchedManifest(stored, body, { kind: 'Node', name }) as NodeManifest);
      });
      return answer(name);
    },
  };
}
