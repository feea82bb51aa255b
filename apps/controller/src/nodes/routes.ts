/** The requests about nodes. */
import type { NodeManifest } from '@skerry/contract/schema';
import { type Node, SkerryError } from '@skerry/model';
import { type Core, change } from '../core.ts';
import { requireConditions } from '../http/conditions.ts';
import type { HandlersOf } from '../http/handlers.ts';
import { listing } from '../http/listing.ts';
import { patchedManifest } from '../manifests/request.ts';
import { keyOf } from '../state/keys.ts';
import { putNode } from './accept.ts';

type NodeHandlers = Pick<HandlersOf<'node'>, 'node.list' | 'node.show' | 'node.patch'>;

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
  return {
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
