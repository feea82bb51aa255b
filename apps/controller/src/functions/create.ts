/** A JavaScript or TypeScript function becomes an image and a workload of one unikernel for each instance. */
import type { FunctionRequest } from '@skerry/contract';
import { requireManifest, type WorkloadManifest } from '@skerry/contract/schema';
import { SkerryError, type Workload } from '@skerry/model';
import { type Core, change } from '../core.ts';
import type { Catalog } from '../images/catalog.ts';
import { keyOf } from '../state/keys.ts';
import { putWorkload } from '../workloads/accept.ts';

export const FUNCTION_LABEL = 'skerry/function';
/** Where a function's kernel serves it. */
const PORT = 8080;

export function functionManifest(request: FunctionRequest, project: string): WorkloadManifest {
  const { name, filename, replicas, memory, publish } = request;
  return requireManifest({
    apiVersion: 'skerry/v1',
    kind: 'Workload',
    metadata: {
      name,
      project,
      labels: { [FUNCTION_LABEL]: name },
      annotations: { 'skerry/source': filename },
    },
    spec: {
      runtime: 'unikernel',
      image: `functions/${name}:latest`,
      ...(replicas !== undefined && { replicas }),
      resources: { cpus: 1, memory: memory ?? '8MiB' },
      ports: [{ name: 'http', port: PORT, ...(publish !== undefined && { publish }) }],
      restart: 'always',
      health: { http: { port: PORT, path: '/healthz' } },
    },
  }) as WorkloadManifest;
}

/** Errors: already_exists, function_invalid with details {line, column}, and those of putting a workload. */
export async function createFunction(
  core: Core,
  catalog: Catalog,
  project: string,
  request: FunctionRequest,
): Promise<{ workload: Workload; created: boolean }> {
  const manifest = functionManifest(request, project);
  const other = core.view.get('workloads', project, request.name);
  if (other && other.metadata.labels[FUNCTION_LABEL] === undefined) {
    throw new SkerryError(
      'already_exists',
      `a workload "${request.name}" that is no function exists in the project ${project}`,
    );
  }
  await catalog.add(project, async () => {
    const facts = await core.images.createFunction(request.source, request.filename);
    return [{ reference: manifest.spec.image, facts }];
  });
  const { result } = await change(core, [keyOf('workloads', project, request.name)], true, (draft, world) =>
    putWorkload(draft, world, core.view, project, manifest),
  );
  return { workload: result.resource, created: result.outcome === 'created' };
}
