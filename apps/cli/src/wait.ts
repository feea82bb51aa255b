/** Waits for workloads on the controller's watch: no polling. */
import type { Client } from '@skerry/contract';
import { countsOf, type Instance, perSiteOf, SkerryError, type Workload } from '@skerry/model';

/** What Ctrl-C leaves behind while somebody waits. */
export const GOES_ON = 'what was asked for goes on: skerry workload list';

export interface WaitOptions {
  readonly limitMs: number;
  readonly onChange?: (text: string) => void;
}

/** Resolves when `done` holds for what exists of the project's workloads. Errors: not_in_time after the limit, with `pending`'s words. */
export async function waitForWorkloads(
  client: Client,
  project: string,
  done: (workloads: ReadonlyMap<string, Workload>) => boolean,
  pending: (workloads: ReadonlyMap<string, Workload>) => string,
  options: WaitOptions,
): Promise<void> {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), options.limitMs);
  const known = new Map<string, Workload>();
  let synced = false;
  try {
    for await (const message of client.watch('workload.list', { project }, { signal: stop.signal })) {
      if (message.type === 'put') known.set(message.object.metadata.name, message.object);
      else if (message.type === 'delete') known.delete(message.name);
      else if (message.type === 'reset') known.clear();
      synced = message.type === 'synced' || (synced && message.type !== 'reset');
      if (!synced) continue;
      if (done(known)) return;
      options.onChange?.(pending(known));
    }
  } finally {
    clearTimeout(timer);
    stop.abort();
  }
  throw new SkerryError('not_in_time', `not done within ${options.limitMs / 1000} s: ${pending(known)}`);
}

/** Resolves when no instance of the workloads has a guest any more. Errors: not_in_time after the limit. */
export async function waitForStopped(
  client: Client,
  project: string,
  names: readonly string[],
  limitMs: number,
): Promise<void> {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), limitMs);
  const known = new Map<string, Instance>();
  const left = () =>
    [...known.values()].filter(
      ({ spec, status }) => names.includes(spec.workload) && !['stopped', 'failed'].includes(status.phase),
    );
  let synced = false;
  try {
    for await (const message of client.watch('instance.list', { project }, { signal: stop.signal })) {
      if (message.type === 'put') known.set(message.object.metadata.name, message.object);
      else if (message.type === 'delete') known.delete(message.name);
      else if (message.type === 'reset') known.clear();
      synced = message.type === 'synced' || (synced && message.type !== 'reset');
      if (synced && left().length === 0) return;
    }
  } finally {
    clearTimeout(timer);
    stop.abort();
  }
  const running = left().map(({ metadata, status }) => `${metadata.name} is ${status.phase}`);
  throw new SkerryError('not_in_time', `not stopped within ${limitMs / 1000} s: ${running.join(', ')}`);
}

export const isReady = (workload: Workload | undefined): boolean =>
  workload !== undefined &&
  workload.status.observedGeneration >= workload.metadata.generation &&
  countsOf(workload).ready === (workload.control.run === 'stopped' ? 0 : countsOf(workload).wanted) &&
  // with perSite, instances are kept for a while where nobody wants them any more, and a reason may tell of clients without a site
  (perSiteOf(workload.spec)
    ? workload.status.reason === undefined
    : workload.status.replicas === countsOf(workload).wanted);

/** What is not ready yet, with reasons. */
export const describePending = (names: readonly string[]) => (workloads: ReadonlyMap<string, Workload>) =>
  names
    .map((name) => ({ name, workload: workloads.get(name) }))
    .filter(({ workload }) => !isReady(workload))
    .map(({ name, workload }) => {
      if (!workload) return `${name} does not exist`;
      const reason = workload.status.reason ? ` (${workload.status.reason})` : '';
      return `${name} ${countsOf(workload).ready}/${countsOf(workload).wanted} ready${reason}`;
    })
    .join(', ');
