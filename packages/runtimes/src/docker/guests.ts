/**
 * One container on a Docker engine from `create` to `remove`. The engine is asked each time what is there; each verb may be
 * repeated after a crash at any of its lines. A failed `create` leaves nothing.
 */
import {
  cgroupHasSwapLimit,
  cgroupOf,
  clearCgroup,
  type Identity,
  openFilesLimit,
  processesLimit,
  processRef,
} from '@skerry/host';
import { type Id, type Millis, SkerryError } from '@skerry/model';
import { signalNumber } from '../containerd/exit-judge.ts';
import { lastCause } from '../containerd/failures.ts';
import type { GuestSpec, GuestState } from '../port.ts';
import { createBody, seccompText } from './create-body.ts';
import { type EngineApi, EngineRefusal, type Inspected, isNotThere } from './engine-api.ts';
import { type EngineFacts, engineName } from './engine-facts.ts';
import type { EngineImages } from './images.ts';
import { ensureNetwork, handOverEarly, letGo } from './join-network.ts';
import { Judge } from './judge.ts';
import { containerName, ownFilter, uidOf } from './names.ts';
import type { Records } from './record.ts';

type Uid = Id<'instance'>;

const FORCED_END_LIMIT_MS = 20_000;

export interface DockerGuestsOptions {
  readonly identity: Identity;
  readonly api: EngineApi;
  readonly images: EngineImages;
  readonly records: Records;
  readonly facts: () => EngineFacts;
}

export class DockerGuests {
  readonly #options: DockerGuestsOptions;
  readonly judge: Judge;

  constructor(options: DockerGuestsOptions) {
    this.#options = options;
    this.judge = new Judge(options.api, options.records, options.facts);
  }

  path(uid: Uid): string {
    return `/containers/${containerName(this.#options.identity.id, uid)}`;
  }

  /** Undefined where the engine has no such container. */
  async inspect(uid: Uid, signal?: AbortSignal): Promise<Inspected | undefined> {
    try {
      return await this.#options.api.call<Inspected>(
        'GET',
        `${this.path(uid)}/json`,
        signal ? { signal } : {},
      );
    } catch (error) {
      if (isNotThere(error)) return undefined;
      throw error;
    }
  }

  async list(signal: AbortSignal): Promise<Uid[]> {
    const { api, identity, records } = this.#options;
    const filters = JSON.stringify({ label: [ownFilter(identity.id)] });
    const found = await api.call<{ Labels: Record<string, string> }[]>('GET', '/containers/json', {
      signal,
      query: { all: true, filters },
    });
    return [...new Set([...found.flatMap(({ Labels }) => uidOf(Labels) ?? []), ...records.list()])];
  }

  async state(uid: Uid, signal?: AbortSignal): Promise<GuestState> {
    return this.judge.state(uid, await this.inspect(uid, signal));
  }

  /** Its state, after taking away what is left of one that is not whole, and finishing what a start left undone. */
  async recover(uid: Uid, signal: AbortSignal): Promise<GuestState> {
    const { containerId, joined } = this.#options.records.read(uid) ?? {};
    if (containerId !== undefined && !joined) letGo(this.#options.identity, containerId);
    const state = await this.state(uid, signal);
    if (state.state === 'running') return this.#joined(uid, state, signal);
    return state.state === 'absent' && this.#options.records.has(uid) ? this.remove(uid, signal) : state;
  }

  async create(spec: GuestSpec, signal: AbortSignal): Promise<GuestState> {
    const { api, identity, images, records } = this.#options;
    const { uid } = spec;
    const have = await this.state(uid, signal);
    if (have.state !== 'absent') {
      if (have.incarnation === spec.incarnation) return have;
      throw new SkerryError('guest_start_failed', `${spec.name} is there as another incarnation`);
    }
    const facts = this.#options.facts();
    this.#checkNamespace(spec, facts);
    const { name, image } = await images.load(spec.imageDigest);
    if (signal.aborted) throw new SkerryError('cancelled', 'cancelled before the container was made');
    records.write(uid, { spec });
    const filter = facts.flavour === 'podman' ? seccompText(spec.security) : undefined;
    try {
      const body = createBody({
        ...{ guest: spec, identityId: identity.id, image: image.config, imageName: name, facts },
        ...(filter === undefined ? {} : { seccompPath: records.keep(uid, 'seccomp.json', filter) }),
        ...{ cgroup: identity.cgroup, swapLimit: cgroupHasSwapLimit() },
        ...{ openFiles: openFilesLimit(), processes: processesLimit() },
      });
      // Not to be cancelled: whether the engine made it all the same could not be told.
      const { Id: containerId } = await api.call<{ Id: string }>('POST', '/containers/create', {
        body,
        query: { name: containerName(identity.id, uid) },
      });
      records.write(uid, { spec, containerId });
    } catch (error) {
      await this.remove(uid, AbortSignal.timeout(30_000)).catch(() => undefined);
      throw this.#refused(error, spec);
    }
    return { state: 'created', incarnation: spec.incarnation };
  }

  #checkNamespace({ security, network }: GuestSpec, facts: EngineFacts): void {
    if (security.userNamespace && !facts.mapsUsers)
      throw new SkerryError(
        'unsupported',
        `this ${engineName(facts)} engine maps no users: start dockerd with --userns-remap, or use containerd on this node`,
      );
    if (network && network.kind !== 'netns')
      throw new SkerryError('unsupported', 'a container needs a network namespace, not a tap device');
  }

  #refused(error: unknown, spec: Pick<GuestSpec, 'name'>): unknown {
    if (!(error instanceof EngineRefusal)) return error;
    const text = lastCause(error.message).slice(0, 400);
    if (/storage-opt|pquota|quota not supported/i.test(text))
      return new SkerryError(
        'unsupported',
        `${spec.name}: this engine can not limit a container's disk: ${text}`,
        { cause: error },
      );
    const code = /no space left/i.test(text) ? 'disk_full' : 'guest_start_failed';
    const isUser = /unable to find (user|group)/i.test(text);
    return new SkerryError(isUser ? 'image_invalid' : code, `${spec.name} could not be made: ${text}`, {
      cause: error,
    });
  }

  async start(uid: Uid, signal: AbortSignal): Promise<GuestState> {
    const { api, identity, records } = this.#options;
    const found = await this.inspect(uid, signal);
    const have = await this.judge.state(uid, found);
    if (!found || have.state === 'absent')
      throw new SkerryError('guest_start_failed', `there is no container ${uid} to start`);
    if (have.state === 'running') return this.#joined(uid, have, signal);
    if (have.state !== 'created') return have;
    const spec = records.read(uid)?.spec;
    // Before the process is there: one that ended at once was started all the same.
    records.change(uid, { startedAtMs: Date.now() });
    const started = new AbortController();
    const early =
      spec?.network?.kind === 'netns' && this.#options.facts().flavour === 'docker'
        ? handOverEarly(identity, found.Id, spec.network, started.signal)
        : undefined;
    let given: number | undefined;
    try {
      // Not to be cancelled: whether it runs all the same could not be told.
      await api.call('POST', `${this.path(uid)}/start`);
    } catch (error) {
      const record = records.read(uid);
      if (record) {
        const { startedAtMs: _, ...before } = record;
        records.write(uid, before);
      }
      throw this.#refused(error, spec ?? { name: uid });
    } finally {
      started.abort();
      given = await early;
    }
    const state = await this.state(uid);
    return state.state === 'running' ? this.#joined(uid, state, signal, given) : state;
  }

  /** Finishes what follows a start, once: it has its interface, and its group is known. Without either it is ended. */
  async #joined(
    uid: Uid,
    state: Extract<GuestState, { state: 'running' }>,
    signal: AbortSignal,
    given?: number,
  ): Promise<GuestState> {
    const { api, records } = this.#options;
    const record = records.read(uid);
    if (!record) return state;
    const done = record.joined === true || given === state.pid;
    const { network } = record.spec;
    try {
      if (network?.kind === 'netns') await ensureNetwork(network, state.pid, done, signal);
    } catch (error) {
      if (signal.aborted) throw error; // the next look at it finishes what is missing
      if (processRef(state.pid) === undefined) return state; // it ended before it needed a network: its end will be told
      const now = await this.state(uid);
      if (now.state !== 'running') return now;
      await api
        .call('POST', `${this.path(uid)}/kill`, { query: { signal: 'SIGKILL' } })
        .catch(() => undefined);
      throw error;
    }
    if (!record.joined) {
      const cgroup = cgroupOf(state.pid, 'memory');
      records.change(uid, { joined: true, ...(cgroup === undefined ? {} : { cgroup }) });
    }
    return state;
  }

  async stop(uid: Uid, graceMs: Millis, signal: AbortSignal): Promise<GuestState> {
    const have = await this.state(uid, signal);
    if (have.state !== 'running') return have;
    if (graceMs > 0) {
      await this.#ask(uid, false, await this.#stopSignal(uid), signal);
      if (await this.#ended(uid, graceMs, signal)) return this.state(uid, signal);
    }
    await this.#ask(uid, true, 'SIGKILL', signal);
    if (!(await this.#ended(uid, FORCED_END_LIMIT_MS, signal)))
      throw new SkerryError('guest_unresponsive', `${uid} did not end after SIGKILL`);
    return this.state(uid, signal);
  }

  async #stopSignal(uid: Uid): Promise<string> {
    const found = await this.inspect(uid);
    const wanted = found?.Config.StopSignal;
    return wanted !== undefined && signalNumber(wanted) !== undefined ? wanted : 'SIGTERM';
  }

  async #ask(uid: Uid, forced: boolean, name: string, signal: AbortSignal): Promise<void> {
    const { api, records } = this.#options;
    const record = records.read(uid);
    if (record && !record.exit)
      records.write(uid, { ...record, stop: { forced: forced || (record.stop?.forced ?? false) } });
    try {
      await api.call('POST', `${this.path(uid)}/kill`, { signal, query: { signal: name } });
    } catch (error) {
      if (error instanceof EngineRefusal) return; // it has ended already
      if (record && signal.aborted) records.write(uid, record); // it goes on: a later end is its own
      throw error;
    }
  }

  /** Whether it ended within the time. */
  async #ended(uid: Uid, limitMs: number, signal: AbortSignal): Promise<boolean> {
    const { api, records } = this.#options;
    const over = AbortSignal.timeout(Math.max(1, limitMs));
    try {
      await api.call('POST', `${this.path(uid)}/wait`, {
        signal: AbortSignal.any([signal, over]),
        query: { condition: 'not-running' },
        timeoutMs: limitMs + 60_000,
      });
      return true;
    } catch (error) {
      if (isNotThere(error)) return true;
      if (signal.aborted) {
        const record = records.read(uid);
        if (record && !record.exit) {
          const { stop: _, ...rest } = record;
          records.write(uid, rest); // it goes on: a later end is its own
        }
        throw new SkerryError('cancelled', 'the stop was cancelled', { cause: error });
      }
      if (!over.aborted) throw error;
      return (await this.state(uid)).state !== 'running';
    }
  }

  async remove(uid: Uid, signal: AbortSignal): Promise<GuestState> {
    const { api, identity, images, records } = this.#options;
    const found = await this.inspect(uid, signal);
    const record = records.read(uid);
    if (found) {
      for (let attempt = 0; ; attempt++) {
        try {
          await api.call('DELETE', this.path(uid), { signal, query: { force: true, v: true } });
          break;
        } catch (error) {
          if (isNotThere(error)) break;
          // "removal in progress": by a removal that was cut off
          if (!(error instanceof EngineRefusal) || error.status !== 409 || attempt >= 100) throw error;
          await api
            .call('POST', `${this.path(uid)}/wait`, { signal, query: { condition: 'removed' } })
            .catch(() => undefined);
        }
      }
      // Named after it: the group of another is never touched.
      const groups = [`${identity.cgroup}/${found.Id}`, record?.cgroup].filter((path) =>
        path?.includes(found.Id),
      );
      for (const group of groups)
        if (!(await clearCgroup(group!)))
          throw new SkerryError('guest_unresponsive', `processes of ${uid} did not end`);
    }
    if (record) await images.release(record.spec.imageDigest);
    records.remove(uid);
    return { state: 'absent' };
  }

  /** Where it is measured. Errors: guest_not_running. */
  async cgroup(uid: Uid, signal: AbortSignal): Promise<string> {
    const found = await this.inspect(uid, signal);
    const group =
      found?.State.Status === 'running'
        ? (this.#options.records.read(uid)?.cgroup ?? cgroupOf(found.State.Pid, 'memory'))
        : undefined;
    if (group === undefined) throw new SkerryError('guest_not_running', `${uid} is not running`);
    return group;
  }
}
