/** The requests about operations. */
import type { Core } from '../core.ts';
import type { HandlersOf } from '../http/handlers.ts';
import { listing } from '../http/listing.ts';
import { keyOf } from '../state/keys.ts';
import { requireStored } from '../workloads/routes.ts';
import type { Operations } from './runner.ts';

export function operationRoutes(core: Core, operations: Operations): HandlersOf<'operation'> {
  return {
    'operation.list': async (query, context) => listing(core, 'operations', query, context),
    'operation.show': async ({ name }) =>
      requireStored(core, keyOf('operations', name), `operation "${name}"`),
    async 'operation.cancel'({ name }) {
      const operation = await operations.cancel(name);
      return { body: operation, revision: operation.metadata.revision };
    },
  };
}
