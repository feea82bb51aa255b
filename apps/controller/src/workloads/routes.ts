/** The requests about workloads. */
import type { WorkloadManifest } from '@skerry/contract/schema';
import { type Instance, SkerryError, type Workload } from '@skerry/model';
import { type Core, change } from '../core.ts';
import { requireConditions } from '../http/conditions.ts';
import type { HandlersOf, Reply } from '../http/handlers.ts';
import { listing, requireListedProject } from '../http/listing.ts';
import { openConsole, openExec, readLogs } from '../instances/streams.ts';
import { lockKeys } from '../manifests/apply.ts';
import { manifestOf, patchedManifest } from '../manifests/request.ts';
import { explainWorkload } from '../placement/explain.ts';
import { keyOf } from '../state/keys.ts';
import { type Accepted, controlWorkload, deleteWorkload, putWorkload, type Verb } from './accept.ts';

/** As stored after the commit, or as it was planned where it went at once. */
export function replyStored(
  core: Core,
  key: string,
  planned: { metadata: object },
  status = 200,
): Reply<never> {
  const stored = core.view.textOf(key);
  if (stored) return { body: core.view.byKey(key) as never, status, revision: stored.revision };
  return { body: planned as never, status };
}

export function requireStored<T extends { metadata: { revision: number } }>(
  core: Core,
  key: string,
  what: string,
): Reply<T> {
  const stored = core.view.textOf(key);
  if (!stored) throw new SkerryError('not_found', `there is no ${what}`);
  return stored;
}

/** The one that is named, or the first that runs, or the first. Errors: not_found, guest_not_running. */
export function instanceOf(
  core: Core,
  project: string,
  workload: string,
  name: string | undefined,
): Instance {
  if (!core.view.get('workloads', project, workload)) {
    throw new SkerryError('not_found', `there is no workload "${workload}" in the project ${project}`);
  }
  const instances = core.view.instancesOf(project, workload).sort((a, b) => a.spec.ordinal - b.spec.ordinal);
  if (name !== undefined) {
    const named = instances.find((instance) => instance.metadata.name === name);
    if (!named) throw new SkerryError('not_found', `the workload ${workload} has no instance "${name}"`);
    return named;
  }
  const found = instances.find((instance) => instance.status.phase === 'running') ?? instances[0];
  if (!found) throw new SkerryError('guest_not_running', `the workload ${workload} has no instances`);
  return found;
}

export function workloadRoutes(core: Core): HandlersOf<'workload'> {
  const { view } = core;
  const key = (project: string, name: string) => keyOf('workloads', project, name);

  const answer = async (
    project: string,
    name: string,
    keys: readonly string[],
    plan: (...args: Parameters<Parameters<typeof change<Accepted<Workload>>>[3]>) => Accepted<Workload>,
  ) => {
    const { result } = await change(core, keys, true, plan);
    return replyStored(core, key(project, name), result.resource, result.outcome === 'created' ? 201 : 200);
  };
  const control = async (project: string, name: string, verb: Verb) => {
    const { result } = await change(core, [key(project, name)], true, (draft, world) =>
      controlWorkload(draft, world, view, project, name, verb),
    );
    return replyStored(core, key(project, name), result);
  };

  return {
    async 'workload.list'({ project, ...query }, context) {
      requireListedProject(core, project);
      return listing(core, 'workloads', query, context, { project });
    },
    'workload.show': async ({ project, name }) =>
      requireStored(core, key(project, name), `workload "${name}" in the project ${project}`),
    async 'workload.put'({ project, name, body }, { conditions }) {
      const manifest = manifestOf(body, { kind: 'Workload', project, name }) as WorkloadManifest;
      return answer(project, name, lockKeys(manifest, project), (draft, world) =>
        putWorkload(draft, world, view, project, manifest, conditions),
      );
    },
    async 'workload.patch'({ project, name, body }, { conditions }) {
      const stored = view.get('workloads', project, name);
      if (!stored)
        throw new SkerryError('not_found', `there is no workload "${name}" in the project ${project}`);
      const path = { kind: 'Workload', project, name } as const;
      const locked = patchedManifest(stored, body, path);
      return answer(project, name, lockKeys(locked, project), (draft, world) => {
        const current = draft.get('workloads', project, name);
        if (!current)
          throw new SkerryError('not_found', `there is no workload "${name}" in the project ${project}`);
        requireConditions(conditions, current.metadata.revision, `the workload ${name}`);
        // Patched anew: what it was read from may have changed while others were served.
        const manifest = patchedManifest(current, body, path) as WorkloadManifest;
        return putWorkload(draft, world, view, project, manifest);
      });
    },
    'workload.delete': async ({ project, name }, { conditions }) =>
      answer(project, name, [key(project, name)], (draft, world) =>
        deleteWorkload(draft, world, view, project, name, conditions),
      ),
    'workload.start': async ({ project, name }) => control(project, name, 'start'),
    'workload.stop': async ({ project, name }) => control(project, name, 'stop'),
    'workload.restart': async ({ project, name }) => control(project, name, 'restart'),
    'workload.explain': async ({ project, name, instance }) => ({
      body: explainWorkload(core, project, name, instance),
    }),
    'workload.logs': ({ project, name, instance, ...options }, context) =>
      readLogs(core, () => instanceOf(core, project, name, instance), options, context.signal),
    'workload.exec': async ({ project, name, instance, ...request }, signal) =>
      openExec(core, instanceOf(core, project, name, instance), request, signal),
    'workload.console': async ({ project, name, instance }, signal) =>
      openConsole(core, instanceOf(core, project, name, instance), signal),
  };
}
