/** Where volumes and those who mount them come together: data stays where it is, so instances go to it. No I/O. */
import type { Volume, Workload } from '@skerry/model';
import type { Draft } from '../state/draft.ts';
import { keyOf } from '../state/keys.ts';
import type { World } from '../workloads/converge.ts';

const mounted = (draft: Draft, project: string, workload: Workload): Volume[] =>
  (workload.spec.volumes ?? [])
    .map(({ name }) => draft.get('volumes', project, name))
    .filter((volume) => volume !== undefined);

/** The node that has the volumes of a workload; none while they are on none. */
export function volumesOf(draft: Draft, project: string, workload: Workload): { onNode?: string } {
  const bound = mounted(draft, project, workload).find(({ status }) => status.node !== undefined);
  return bound ? { onNode: bound.status.node! } : {};
}

/** Volumes that are on no node yet are made where their first instance goes. */
export function bindVolumes(
  draft: Draft,
  project: string,
  workload: Workload,
  node: string,
  world: Pick<World, 'now'>,
): void {
  for (const volume of mounted(draft, project, workload)) {
    if (volume.status.node !== undefined) continue;
    const { reason, ...status } = volume.status;
    draft.put(keyOf('volumes', project, volume.metadata.name), {
      ...volume,
      metadata: { ...volume.metadata, updatedAt: world.now },
      status: { ...status, node },
    });
  }
}
