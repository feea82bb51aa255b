/**
 * A node is taken out: its record, the right of its key, its instances. What may still run there without anybody's word (a
 * single instance, until its lease ends) is left to `converge`. Its machine keeps what it has, and is told why it stays outside.
 */
import { type Node, SkerryError } from '@skerry/model';
import type { Core } from '../core.ts';
import type { Draft } from '../state/draft.ts';
import { keyOf } from '../state/keys.ts';
import type { World } from '../workloads/converge.ts';

/** Errors: not_found; in_use where something of it would be lost that `force` has not given up. */
export function removeNode(core: Core, draft: Draft, world: World, name: string, force: boolean): Node {
  const { view } = core;
  const node = draft.get('nodes', name);
  if (!node) throw new SkerryError('not_found', `there is no node "${name}"`);
  if (name === core.nodeName)
    throw new SkerryError(
      'in_use',
      `${name} is the machine of the controller itself: end it with \`skerry down\``,
    );
  const instances = view.instancesOn(name);
  const volumes = view.volumesOn(name);
  if (!force)
    requireNothing(
      node,
      instances.length,
      volumes.map(({ metadata }) => metadata.name),
    );

  draft.delete(keyOf('nodes', name));
  draft.delete(keyOf('node-overheads', name));
  const known = draft.get('node-keys', name);
  if (known) draft.put(keyOf('node-keys', name), { ...known, removedAt: world.now });
  for (const { metadata, spec } of instances) {
    if (spec.lease) continue;
    const key = keyOf('instances', metadata.project!, metadata.name);
    draft.delete(key);
    world.reserve(key, undefined);
  }
  for (const volume of volumes) {
    const { node: _, ...status } = volume.status;
    const { project, name: volumeName, uid } = volume.metadata;
    const key = keyOf('volumes', project!, volumeName);
    draft.put(key, { ...volume, status: { ...status, phase: 'pending' } });
    draft.event({
      type: 'warning',
      reason: 'DataGivenUp',
      message: `the data of the volume ${volumeName} was on ${name}, which was taken out: the next one begins empty`,
      about: { kind: 'Volume', project: project!, name: volumeName, uid },
    });
  }
  const message = `node ${name} was taken out`;
  draft.event({ type: 'normal', reason: 'Removed', message, about: { kind: 'Node', name } });
  return node;
}

function requireNothing(node: Node, instances: number, volumes: readonly string[]): void {
  const { name } = node.metadata;
  const lost = node.status.phase === 'lost';
  if (instances > 0 && !lost)
    throw new SkerryError(
      'in_use',
      `${name} has ${instances} ${instances === 1 ? 'instance: move it' : 'instances: move them'} away with \`skerry node drain ${name}\`, or add --force`,
      { details: { instances } },
    );
  if (volumes.length > 0)
    throw new SkerryError(
      'in_use',
      `${name} has the data of ${volumes.join(', ')}: delete the volumes, or give their data up with --force`,
      { details: { volumes } },
    );
}
