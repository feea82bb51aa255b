/**
 * Long requests, durable: what is asked lies in the store before the answer goes out, so a controller that restarts goes
 * on with it. A worker must be able to begin again at any time. Secrets are never stored.
 *
 *   pending -> running -> done | failed | cancelled
 */
import { asSkerryError, newId, type Operation, SkerryError } from '@skerry/model';
import { type Core, change } from '../core.ts';
import { keyOf } from '../state/keys.ts';
import { newMetadata, touched } from '../state/resource.ts';

const PROGRESS_EVERY_MS = 1000;
const KEPT = 500;

export interface WorkContext {
  readonly signal: AbortSignal;
  readonly project: string;
  progress(fraction: number, step: string): void;
  /** What was given at the request and is not stored; undefined after a restart. */
  readonly secret: unknown;
}
export type Worker = (
  input: Readonly<Record<string, unknown>>,
  context: WorkContext,
) => Promise<Record<string, unknown>>;

export interface Operations {
  begin(request: {
    readonly action: string;
    readonly target: string;
    readonly project: string;
    readonly input: Record<string, unknown>;
    readonly secret?: unknown;
  }): Promise<Operation>;
  /** Errors: not_found, phase_forbids where it has ended. */
  cancel(name: string): Promise<Operation>;
  readonly running: number;
  start(): void;
  stop(): Promise<void>;
}

const ended = (operation: Operation) => ['done', 'failed', 'cancelled'].includes(operation.status.phase);

export function createOperations(core: Core, workers: Readonly<Record<string, Worker>>): Operations {
  const active = new Map<string, { abort: AbortController; ended: Promise<void> }>();

  const update = async (
    name: string,
    status: (old: Operation['status']) => Operation['status'] | undefined,
  ) => {
    const { result } = await change(core, [keyOf('operations', name)], false, (draft, world) => {
      const stored = draft.get('operations', name);
      const next = stored && !ended(stored) ? status(stored.status) : undefined;
      if (!stored || !next) return stored;
      const changed: Operation = {
        ...stored,
        metadata: touched(stored.metadata, world.now, { spec: false }),
        status: next,
      };
      draft.put(keyOf('operations', name), changed);
      return changed;
    });
    return result;
  };
  const finish = (name: string, status: Omit<Operation['status'], 'finishedAt'>) =>
    update(name, () => ({ ...status, finishedAt: new Date(core.clock.nowMs()).toISOString() }));

  const work = async (operation: Operation, secret: unknown, abort: AbortController) => {
    const { name, project } = operation.metadata;
    const { action, target, input } = operation.spec;
    const about = { kind: 'Operation', name, ...(project !== undefined && { project }) };
    let written = 0;
    try {
      const worker = workers[action];
      if (!worker) throw new SkerryError('unsupported', `nothing here knows the operation "${action}"`);
      await update(name, (old) => ({ ...old, phase: 'running' }));
      const result = await worker(input, {
        signal: abort.signal,
        project: project ?? '',
        secret,
        progress(fraction, step) {
          const now = core.clock.nowMs();
          if (Math.abs(now - written) < PROGRESS_EVERY_MS) return; // the clock may be set back
          written = now;
          update(name, (old) => ({
            ...old,
            phase: 'running',
            progress: Math.min(1, Math.max(0, fraction)),
            step,
          })).catch((error) => core.logger.warn({ err: error }, 'progress could not be stored'));
        },
      });
      await finish(name, { phase: 'done', progress: 1, result });
      core.events.emit({
        type: 'normal',
        reason: 'OperationDone',
        message: `${action} ${target} is done`,
        about,
      });
    } catch (thrown) {
      if (abort.signal.aborted) return; // cancelled: said already; stopping: goes on after the restart
      const error = asSkerryError(thrown);
      if (error.code === 'internal')
        core.logger.error({ err: thrown, operation: name }, 'an operation failed');
      await finish(name, { phase: 'failed', error: { code: error.code, message: error.message } });
      const message = `${action} ${target} failed: ${error.message}`;
      core.events.emit({ type: 'warning', reason: 'OperationFailed', message, about });
    }
  };
  const launch = (operation: Operation, secret?: unknown) => {
    const { name } = operation.metadata;
    const abort = new AbortController();
    const ended = work(operation, secret, abort)
      .catch((error) =>
        core.logger.error({ err: error, operation: name }, 'the end of an operation could not be stored'),
      )
      .finally(() => active.delete(name));
    active.set(name, { abort, ended });
  };
  const prune = () => {
    const old = [...core.view.all('operations')]
      .filter(ended)
      .map((one) => one.metadata.name)
      .sort();
    const surplus = old.slice(0, Math.max(0, old.length - KEPT));
    if (surplus.length === 0) return;
    const keys = surplus.map((name) => ({ delete: keyOf('operations', name) }));
    core.store
      .txn([], keys)
      .catch((error) => core.logger.warn({ err: error }, 'old operations could not be removed'));
  };

  return {
    get running() {
      return active.size;
    },
    async begin({ action, target, project, input, secret }) {
      const name = newId<'operation'>(core.clock.nowMs());
      const { result } = await change(core, [], false, (draft, world) => {
        const operation: Operation = {
          apiVersion: 'skerry/v1',
          kind: 'Operation',
          metadata: newMetadata({ name, project }, world.now, name),
          spec: { action, target, input },
          status: { phase: 'pending' },
        };
        draft.put(keyOf('operations', name), operation);
        return operation;
      });
      launch(result, secret);
      prune();
      return core.view.get('operations', name) ?? result;
    },
    async cancel(name) {
      const stored = core.view.get('operations', name);
      if (!stored) throw new SkerryError('not_found', `there is no operation "${name}"`);
      if (ended(stored))
        throw new SkerryError('phase_forbids', `the operation ${name} is ${stored.status.phase} already`);
      const result = await finish(name, {
        phase: 'cancelled',
        error: { code: 'cancelled', message: 'it was cancelled' },
      });
      const one = active.get(name);
      one?.abort.abort();
      await one?.ended;
      if (result?.status.phase !== 'cancelled') {
        throw new SkerryError('phase_forbids', `the operation ${name} is ${result?.status.phase} already`);
      }
      return core.view.get('operations', name) ?? result;
    },
    start() {
      for (const operation of core.view.all('operations')) if (!ended(operation)) launch(operation);
    },
    async stop() {
      const all = [...active.values()];
      for (const { abort } of all) abort.abort();
      await Promise.all(all.map((one) => one.ended));
    },
  };
}
