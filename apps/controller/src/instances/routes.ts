/** The requests about instances: they are looked at and talked to; what they are to be is their workload's. */
import { type Instance, SkerryError } from '@skerry/model';
import type { Core } from '../core.ts';
import type { HandlersOf } from '../http/handlers.ts';
import { listing, requireListedProject } from '../http/listing.ts';
import { linkOf } from '../nodes/link.ts';
import { keyOf } from '../state/keys.ts';
import { requireStored } from '../workloads/routes.ts';
import { openConsole, openExec, readLogs } from './streams.ts';
import { guestVerbs } from './verbs.ts';

const STATS_LIMIT_MS = 10_000;

export function instanceRoutes(core: Core): HandlersOf<'instance'> {
  const find = (project: string, name: string): Instance => {
    const instance = core.view.get('instances', project, name);
    if (!instance)
      throw new SkerryError('not_found', `there is no instance "${name}" in the project ${project}`);
    return instance;
  };
  return {
    async 'instance.list'({ project, workload, ...query }, context) {
      requireListedProject(core, project);
      const fits = (instance: Instance) => workload === undefined || instance.spec.workload === workload;
      return listing(core, 'instances', query, context, { project, fits });
    },
    'instance.show': async ({ project, name }) =>
      requireStored(core, keyOf('instances', project, name), `instance "${name}" in the project ${project}`),
    'instance.logs': ({ project, name, ...options }, { signal }) =>
      readLogs(core, () => find(project, name), options, signal),
    async 'instance.stats'({ project, name }, { signal }) {
      const { link, uid } = linkOf(core, find(project, name));
      return { body: await link.stats(uid, AbortSignal.any([signal, AbortSignal.timeout(STATS_LIMIT_MS)])) };
    },
    ...guestVerbs(core, find),
    'instance.exec': async ({ project, name, ...request }, signal) =>
      openExec(core, find(project, name), request, signal),
    'instance.console': async ({ project, name }, signal) => openConsole(core, find(project, name), signal),
  };
}
