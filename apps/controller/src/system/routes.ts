/** The requests about the whole: health, description, numbers, findings, and manifests of several resources. */
import { openApi, parseManifests } from '@skerry/contract/schema';
import type { Core } from '../core.ts';
import type { Handlers } from '../http/handlers.ts';
import { applyManifests, deleteManifests } from '../manifests/apply.ts';
import type { Operations } from '../operations/runner.ts';

export const VERSION = '0.1.0';
const PROBE_LIMIT_MS = 30_000;

type SystemRoute = 'healthz' | 'openapi' | 'status' | 'doctor' | 'apply' | 'delete';

export function systemRoutes(core: Core, operations: Operations): Pick<Handlers, SystemRoute> {
  const { view, clock } = core;
  const startedAt = new Date(clock.nowMs()).toISOString();
  const beganMs = clock.monotonicMs();
  let description: Record<string, unknown> | undefined;
  const count = (collection: 'workloads' | 'images' | 'volumes') => [...view.all(collection)].length;

  return {
    healthz: async () => ({ body: { status: 'ok' } }),
    async openapi() {
      description ??= openApi();
      return { body: description };
    },
    async status() {
      const nodes = [...view.all('nodes')];
      const phases: Record<string, number> = {};
      for (const { status } of view.all('instances')) phases[status.phase] = (phases[status.phase] ?? 0) + 1;
      const { bytes, commits, txns } = core.store.stats();
      return {
        body: {
          apiVersion: 'skerry/v1',
          version: VERSION,
          node: core.nodeName,
          pid: process.pid,
          startedAt,
          uptimeMs: Math.round(clock.monotonicMs() - beganMs),
          revision: view.revision,
          nodes: { ready: nodes.filter((node) => node.status.phase === 'ready').length, total: nodes.length },
          workloads: count('workloads'),
          instances: phases,
          images: count('images'),
          volumes: count('volumes'),
          operations: { running: operations.running },
          store: { bytes, commits, txns },
          memory: { rssBytes: process.memoryUsage.rss() },
        },
      };
    },
    async doctor({ fresh }, { signal }) {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(PROBE_LIMIT_MS)]);
      const nodes = [...view.all('nodes')].map(async ({ metadata, status }) => {
        const link = core.nodes.get(metadata.name);
        const findings = fresh && link ? await link.probe(limit) : status.findings;
        return { name: metadata.name, phase: status.phase, findings };
      });
      return { body: { nodes: await Promise.all(nodes) } };
    },
    async apply({ project, dryRun, body }) {
      const documents = parseManifests(body, project === undefined ? {} : { project });
      return { body: await applyManifests(core, documents, dryRun ?? false) };
    },
    async delete({ project, body }) {
      const documents = parseManifests(body, project === undefined ? {} : { project });
      return { body: await deleteManifests(core, documents) };
    },
  };
}
