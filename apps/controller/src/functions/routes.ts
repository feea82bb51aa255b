/** The requests about functions; a function is a workload with a label, and the rest is asked of that. */
import type { Workload } from '@skerry/model';
import type { Core } from '../core.ts';
import type { HandlersOf } from '../http/handlers.ts';
import { listing, requireListedProject } from '../http/listing.ts';
import type { Catalog } from '../images/catalog.ts';
import { keyOf } from '../state/keys.ts';
import { replyStored } from '../workloads/routes.ts';
import { createFunction, FUNCTION_LABEL } from './create.ts';

export function functionRoutes(core: Core, catalog: Catalog): HandlersOf<'function'> {
  const isFunction = (workload: Workload) => workload.metadata.labels[FUNCTION_LABEL] !== undefined;
  return {
    async 'function.create'({ project, body }) {
      const { workload, created } = await createFunction(core, catalog, project, body);
      return replyStored(core, keyOf('workloads', project, body.name), workload, created ? 201 : 200);
    },
    async 'function.list'({ project }, context) {
      requireListedProject(core, project);
      return listing(core, 'workloads', { limit: 1000 }, context, { project, fits: isFunction });
    },
  };
}
