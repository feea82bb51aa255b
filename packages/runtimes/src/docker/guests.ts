/**
 * One container on a Docker engine from `create` to `remove`. The engine is asked each time what is there; each verb may be
 * repeated after a crash at any of its lines. A failed `create` leaves nothing.
 */
import { cgroupHasSwapLimit, clearCgroup, type Identity, openFilesLimit, processRef } from '@skerry/host';
import { type GuestExit, type Id, type Millis, SkerryError } from '@skerry/model';
import { handOverNetns } from '@skerry/network';
import { judgeExit, signalNumber, vanished } from '../containerd/exit-judge.ts';
import { lastCause } from '../containerd/failures.ts';
import type { GuestSpec, GuestState } from '../port.ts';
import { createBody } from './create-body.ts';
import { type EngineApi, type EngineInfo, EngineRefusal, type Inspected, isNotThere } from './engine-api.ts';
import type { EngineImages } from './images.ts';
import { containerName, INCARNATION, ownFilter, uidOf } from './names.ts';
import type { Records } from './record.ts';

type Uid = Id<'instance'>;

const FORCED_END_LIMIT_MS = 20_000;
/** 1 January of the year 1: what has not come yet. */
const NEVER = /^0001-/;

export interface DockerGuestsOptions {
  readonly identity: Identity;
  readonly api: EngineApi;
  readonly images: EngineImages;
  readonly records: Records;
  readonly info: () => EngineInfo;
}

export class DockerGuests {
  readonly #options: DockerGuestsOptions;

  constructor(options: DockerGuestsOptions) {
    this.#options = options;
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
    const found = await this.inspect(uid, signal);
    if (!found) return { state: 'absent' };
    const incarnation = found.Config.Labels?.[INCARNATION] ?? '';
    const { Status, Pid } = found.State;
    if (Status === 'created') return { state: 'created', incarnation };
    if (Status === 'running' || Status === 'paused' || Status === 'restarting') {
      const startedAtMs = this.#options.records.read(uid)?.startedAtMs ?? Date.parse(found.State.StartedAt);
      return { state: 'running', incarnation, pid: Pid, startedAtMs };
    }
    return { state: 'exited', incarnation, exit: this.judge(uid, found) };
  }

  /** How it ended, judged once and kept. */
  judge(uid: Uid, { State }: Inspected): GuestExit {
    const { records } = this.#options;
    const record = records.read(uid);
    if (record?.exit) return record.exit;
    const atMs = NEVER.test(State.FinishedAt) ? Date.now() : Date.parse(State.FinishedAt);
    // 255: the engine found it gone when it was started itself
    const exit =
      State.ExitCode === 255 && !record?.stop && !State.OOMKilled
        ? vanished(atMs)
        : judgeExit({
            ...{ code: State.ExitCode, atMs, outOfMemory: State.OOMKilled },
            memoryLimitBytes: record?.spec.memoryBytes ?? 0,
            stop: record?.stop,
          });
    if (record) records.write(uid, { ...record, exit });
    return exit;
  }

  /** Its state, after taking away what is left of one that is not whole. */
  async recover(uid: Uid, signal: AbortSignal): Promise<GuestState> {
    const state = await this.state(uid, signal);
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
    this.#checkNamespace(spec);
    const { name, image } = await images.load(spec.imageDigest);
    const info = this.#options.info();
    const body = createBody({
      ...{ guest: spec, identityId: identity.id, image: image.config, imageName: name },
      ...(info.CgroupDriver === 'cgroupfs' ? { cgroupParent: identity.cgroup } : {}),
      swapLimit: cgroupHasSwapLimit(),
      openFiles: openFilesLimit(),
    });
    records.write(uid, { spec });
    try {
      await api.call('POST', '/containers/create', {
        signal,
        body,
        query: { name: containerName(identity.id, uid) },
      });
    } catch (error) {
      await this.remove(uid, AbortSignal.timeout(30_000)).catch(() => undefined);
      throw this.#refused(error, spec);
    }
    return { state: 'created', incarnation: spec.incarnation };
  }

  #checkNamespace({ security, network }: GuestSpec): void {
    const mapped = this.#options.info().SecurityOptions?.some((option) => option.includes('name=userns'));
    if (security.userNamespace && !mapped)
      throw new SkerryError(
        'unsupported',
        'this Docker engine maps no users: start dockerd with --userns-remap, or use containerd on this node',
      );
    if (network && network.kind !== 'netns')
      throw new SkerryError('unsupported', 'a container needs a network namespace, not a tap device');
  }

  #refused(error: unknown, spec: GuestSpec): unknown {
    if (!(error instanceof EngineRefusal)) return error;
    const text = lastCause(error.message);
    if (/storage-opt|--storage-opt|pquota/.test(text))
      return new SkerryError(
        'unsupported',
        `${spec.name}: this Docker engine can not limit a container's disk: ${text}`,
        { cause: error },
      );
    const code = /no space left/i.test(text) ? 'disk_full' : 'guest_start_failed';
    const isUser = /unable to find (user|group)/i.test(text);
    return new SkerryError(isUser ? 'image_invalid' : code, `${spec.name} could not be made: ${text}`, {
      cause: error,
    });
  }

  async start(uid: Uid, signal: AbortSignal): Promise<GuestState> {
    const { api, records } = this.#options;
    const have = await this.state(uid, signal);
    if (have.state === 'absent')
      throw new SkerryError('guest_start_failed', `there is no container ${uid} to start`);
    if (have.state !== 'created') return have;
    const record = records.read(uid);
    // Before the process is there: one that ended at once was started all the same.
    if (record) records.write(uid, { ...record, startedAtMs: Date.now() });
    try {
      await api.call('POST', `${this.path(uid)}/start`, { signal });
    } catch (error) {
      if (record) records.write(uid, record);
      throw error instanceof EngineRefusal
        ? this.#refused(error, record?.spec ?? ({ name: uid } as never))
        : error;
    }
    const state = await this.state(uid, signal);
    const network = record?.spec.network;
    if (state.state !== 'running' || network?.kind !== 'netns') return state;
    try {
      await handOverNetns(network, state.pid, signal);
    } catch (error) {
      // It ended before it needed a network; the engine may learn of that a moment after us.
      if (!processRef(state.pid)) await this.#ended(uid, FORCED_END_LIMIT_MS, signal);
      const now = await this.state(uid);
      if (now.state !== 'running') return now;
      await api
        .call('POST', `${this.path(uid)}/kill`, { query: { signal: 'SIGKILL' } })
        .catch(() => undefined);
      throw error;
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
    const wanted = (found?.Config as { StopSignal?: string } | undefined)?.StopSignal;
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
    const { api, identity, records } = this.#options;
    const found = await this.inspect(uid, signal);
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
      if (!(await clearCgroup(`${identity.cgroup}/${found.Id}`)))
        throw new SkerryError('guest_unresponsive', `processes of ${uid} did not end`);
    }
    records.remove(uid);
    return { state: 'absent' };
  }
}
