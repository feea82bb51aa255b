/** Nodes join by themselves; a manifest or a patch changes only what people decide: labels, and whether it takes instances. */
import type { NodeManifest } from '@skerry/contract/schema';
import { type Node, SkerryError } from '@skerry/model';
import { requireSite } from '../access/kinds.ts';
import { type Conditions, requireConditions } from '../http/conditions.ts';
import type { Draft } from '../state/draft.ts';
import { keyOf } from '../state/keys.ts';
import { same, touched } from '../state/resource.ts';
import type { Accepted } from '../workloads/accept.ts';
import type { World } from '../workloads/converge.ts';

/** Errors: not_found. */
export function putNode(
  draft: Draft,
  world: World,
  manifest: NodeManifest,
  conditions: Conditions = {},
): Accepted<Node> {
  const { name } = manifest.metadata;
  const stored = draft.get('nodes', name);
  if (!stored)
    throw new SkerryError(
      'not_found',
      `there is no node "${name}": a node joins by its agent, not by a manifest`,
    );
  requireConditions(conditions, stored.metadata.revision, `the node ${name}`);
  requireSite(draft, manifest.spec.site);
  const labels = { ...manifest.metadata.labels };
  const annotations = { ...manifest.metadata.annotations };
  const specChanged = !same(stored.spec, manifest.spec);
  const unchanged =
    !specChanged && same(stored.metadata.labels, labels) && same(stored.metadata.annotations, annotations);
  if (unchanged) return { outcome: 'unchanged', resource: stored, steps: [] };
  const node: Node = {
    ...stored,
    spec: manifest.spec,
    metadata: { ...touched(stored.metadata, world.now, { spec: specChanged }), labels, annotations },
  };
  draft.put(keyOf('nodes', name), node);
  return {
    outcome: 'changed',
    resource: node,
    steps: [{ action: 'update', kind: 'Node', name, text: `update node ${name}` }],
  };
}
