/**
 * One container from `create` to `remove` on an engine that answers. Each verb may be repeated after a crash at any of its
 * lines: it looks at what is there first. A failed `create` leaves nothing.
 */
import { chownSync, rmSync, statSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Identity } from '@skerry/host';
import { cgroupHasSwapLimit, clearCgroup, openFilesLimit, setNetnsSysctls } from '@skerry/host';
import type { ImageContent } from '@skerry/images';
import { type GuestExit, type Id, type Millis, SkerryError } from '@skerry/model';
import { handOverNetns } from '@skerry/network';
import type { GuestSpec, GuestState } from '../port.ts';
import { jsonAny, type Mount, packAny, toMillis } from './api.ts';
import {
  type Calls,
  type EngineClient,
  folderInTheWay,
  isLate,
  isNotFound,
  isStillThere,
  isTaskGone,
  TASK,
  type TaskProcess,
} from './client.ts';
import { Endings } from './endings.ts';
import type { Engine } from './engine.ts';
import { signalNumber } from './exit-judge.ts';
import { translate } from './failures.ts';
import { execFolder, type GuestFiles, GuestFolders } from './guest-files.ts';
import { ImageUnpacker } from './image-unpack.ts';
import { USER_NAMESPACE } from './layer-source.ts';
import {
  endMakers,
  hasShimSocket,
  removeBundle,
  removeShimSocket,
  shimsOf,
  unmountGuest,
} from './leftovers.ts';
import type { Logger } from './logger.ts';
import { NETWORK_SYSCTLS, OPEN_FILES, processSpec, runtimeSpec, type SpecInput } from './oci-spec.ts';
import { layerFolders, resolveUser } from './oci-user.ts';
import { limitedLayer } from './writable-layer.ts';

const RUNTIME = 'io.containerd.runc.v2';
const INCARNATION = 'skerry/incarnation';
const KEEP = { 'containerd.io/gc.root': '1' } as const;
const SIGKILL = 9;
const SIGTERM = 15;
const FORCED_END_LIMIT_MS = 10_000;
/** The shim of a task that is just being made may take a second; containerd gives its answers two. */
const HUNG_SHIM_LIMIT_MS = 5000;
const DEAD_SHIM_WAIT_MS = 50;
const DEAD_SHIM_ATTEMPTS = 100;
/** Attempts between two looks at what is in the way: most go by themselves. */
const MAKERS_EVERY = 10;

/** A mapped root is nobody to the node: it gets the folders of its volumes, where they are root's, but not what lies in them. */
function giveVolumes(spec: GuestSpec, owner: number): void {
  for (const { hostPath, readOnly } of spec.volumes) {
    if (!readOnly && statSync(hostPath).uid === 0) chownSync(hostPath, owner, owner);
  }
}

export interface GuestsOptions {
  readonly identity: Identity;
  readonly engine: Engine;
  readonly images: ImageContent;
  readonly logger: Logger;
  /** Path of the program that keeps what containers write. */
  readonly logProgram: string;
  /** Called once for each end. */
  readonly onExit: (uid: Id<'instance'>, exit: GuestExit) => void;
}

export class Guests {
  readonly folders: GuestFolders;
  readonly unpacker: ImageUnpacker;
  readonly #options: GuestsOptions;
  readonly #client: EngineClient;
  readonly endings: Endings;
  /** Made by this object and not started yet, with their incarnation. */
  readonly #fresh = new Map<string, string>();
  readonly #swapLimit = cgroupHasSwapLimit();

  constructor(options: GuestsOptions) {
    this.#options = options;
    this.#client = options.engine.client;
    this.folders = new GuestFolders(options.identity);
    this.endings = new Endings({
      client: this.#client,
      folders: this.folders,
      cgroup: (uid) => this.cgroup(uid),
      onExit: options.onExit,
    });
    this.unpacker = new ImageUnpacker(this.#client, options.images, options.logger);
  }

  cgroup(uid: Id<'instance'>): string {
    return `${this.#options.identity.cgroup}/${uid}`;
  }

  async state(uid: Id<'instance'>, signal: AbortSignal): Promise<GuestState> {
    let incarnation: string;
    try {
      const { container } = await this.#client.call('Containers.Get', { id: uid }, { signal });
      incarnation = container.labels[INCARNATION] ?? '';
    } catch (error) {
      if (isNotFound(error)) return { state: 'absent' };
      throw error;
    }
    const record = this.folders.read(uid);
    if (record?.exit) return { state: 'exited', incarnation, exit: record.exit };
    const task = await this.#task(uid, signal);
    const { pid = 0, status } = task ?? {};
    if (status === TASK.created) return { state: 'created', incarnation };
    if (task && status === TASK.stopped) {
      const exit = this.endings.ended(uid, task.exitStatus, toMillis(task.exitedAt));
      return { state: 'exited', incarnation, exit: exit ?? this.endings.vanished(uid) };
    }
    if (status === TASK.running || status === TASK.paused || status === TASK.pausing) {
      return { state: 'running', incarnation, pid, startedAtMs: record?.startedAtMs ?? Date.now() };
    }
    // Never started: we, or the machine, ended while it was being made. What there is of it is worth nothing.
    if (record?.startedAtMs === undefined) return { state: 'absent' };
    return { state: 'exited', incarnation, exit: this.endings.vanished(uid) };
  }

  /** Its state, after taking away what is left of one that is not whole. */
  async recover(uid: Id<'instance'>, signal: AbortSignal): Promise<GuestState> {
    const state = await this.state(uid, signal).catch((error): GuestState => {
      const unstarted = this.folders.has(uid) && this.folders.read(uid)?.startedAtMs === undefined;
      if (unstarted && isLate(error)) return { state: 'absent' }; // its shim answers to nobody
      throw error;
    });
    if (state.state !== 'absent' || !(await this.#hasLeftovers(uid, signal))) return state;
    return this.remove(uid, signal);
  }

  async #hasLeftovers(uid: Id<'instance'>, signal: AbortSignal): Promise<boolean> {
    const { engine, identity } = this.#options;
    if (this.folders.has(uid) || hasShimSocket(engine, identity, uid)) return true;
    const filters = [`id==${uid}`];
    const { containers } = await this.#client.call('Containers.List', { filters }, { signal });
    return containers.length > 0;
  }

  /** Its task; undefined where there is none. A shim that goes at this moment leaves none in a moment. */
  async #task(uid: Id<'instance'>, signal: AbortSignal): Promise<TaskProcess | undefined> {
    for (let attempt = 0; ; attempt++) {
      try {
        return (await this.#client.call('Tasks.Get', { containerId: uid }, { signal })).process;
      } catch (error) {
        if (isNotFound(error)) return undefined;
        if (!isTaskGone(error) || attempt >= DEAD_SHIM_ATTEMPTS) throw error;
        await delay(DEAD_SHIM_WAIT_MS, undefined, { signal });
      }
    }
  }

  async create(spec: GuestSpec, signal: AbortSignal): Promise<GuestState> {
    const { uid } = spec;
    if (!this.folders.has(uid)) {
      // Nothing here knows of it: it is made at once. Should the engine know of it after all, it says so, and the long way is taken.
      try {
        await this.#make(spec, signal);
        this.#fresh.set(uid, spec.incarnation);
        return { state: 'created', incarnation: spec.incarnation };
      } catch (error) {
        if (!isStillThere(error)) throw await this.#notMade(spec, error);
      }
    }
    const have = await this.state(uid, signal);
    if (have.state !== 'absent') {
      if (have.incarnation === spec.incarnation) return have;
      throw new SkerryError('guest_start_failed', `${spec.name} is there as another incarnation`);
    }
    if (await this.#hasLeftovers(uid, signal)) await this.remove(uid, signal);
    try {
      await this.#make(spec, signal);
      return { state: 'created', incarnation: spec.incarnation };
    } catch (error) {
      throw await this.#notMade(spec, error);
    }
  }

  /** Takes away what a failed `create` left; returns the error to throw. */
  async #notMade(spec: GuestSpec, error: unknown): Promise<unknown> {
    await this.remove(spec.uid, AbortSignal.timeout(30_000)).catch((left) =>
      this.#options.logger.warn({ err: left, uid: spec.uid }, 'a container that was not made left things'),
    );
    return translate(error, 'guest_start_failed', `${spec.name} could not be made`);
  }

  async #make(spec: GuestSpec, signal: AbortSignal): Promise<void> {
    const { uid } = spec;
    const shift = spec.security.userNamespace ? USER_NAMESPACE.firstHostId : undefined;
    const { image, snapshot } = await this.unpacker.unpack(spec.imageDigest, shift);
    const files = this.folders.create(spec, shift ?? 0);
    if (shift !== undefined) giveVolumes(spec, shift);
    const name = spec.security.user ?? image.config.user ?? '';
    const rootfs = await this.#rootfs(spec, snapshot, files, shift ?? 0, signal);
    const input: SpecInput = {
      guest: spec,
      image: image.config,
      user: resolveUser(name, layerFolders(rootfs)),
      files,
      cgroup: this.cgroup(uid),
      swapLimit: this.#swapLimit,
      openFiles: Math.min(OPEN_FILES, openFilesLimit(this.#options.engine.process?.pid)),
    };
    const { stopSignal } = image.config;
    this.folders.write(uid, {
      spec,
      process: processSpec(input),
      ...(stopSignal === undefined ? {} : { stopSignal }),
    });
    const container = {
      id: uid,
      labels: { [INCARNATION]: spec.incarnation },
      runtime: { name: RUNTIME },
      spec: jsonAny('Spec', runtimeSpec(input)),
    };
    await this.#client.call('Containers.Create', { container }, { signal });
    const query = `--folder=${encodeURIComponent(files.folder)}`;
    const output = `binary://${encodeURI(this.#options.logProgram)}?${query}`;
    const pid = await this.#createTask(
      {
        containerId: uid,
        rootfs,
        stdout: output,
        stderr: output,
        options: packAny('containerd.runc.v1.Options', { root: this.#options.engine.paths.runc }),
      },
      signal,
    );
    const record = this.folders.read(uid);
    if (record) this.folders.write(uid, { ...record, pid });
  }

  /**
   * A task of the same id whose shim was killed, or whose making was broken off, stays in containerd's list until it has
   * cleaned up after it; what keeps it from doing so is ended.
   */
  async #createTask(request: Calls['Tasks.Create'][0], signal: AbortSignal): Promise<number> {
    const { identity } = this.#options;
    const { containerId } = request;
    for (let attempt = 0; ; attempt++) {
      try {
        return (await this.#client.call('Tasks.Create', request, { signal })).pid;
      } catch (error) {
        if (!isStillThere(error) || attempt >= DEAD_SHIM_ATTEMPTS) throw error;
        if (attempt > 0 && attempt % MAKERS_EVERY === 0) {
          await endMakers(identity, containerId);
          const folder = folderInTheWay(error);
          if (folder && attempt > MAKERS_EVERY) await removeBundle(folder, identity, containerId, signal);
        }
        await delay(DEAD_SHIM_WAIT_MS, undefined, { signal });
      }
    }
  }

  async #rootfs(
    spec: GuestSpec,
    parent: string,
    files: GuestFiles,
    owner: number,
    signal: AbortSignal,
  ): Promise<Mount[]> {
    const request = { key: spec.uid, parent, labels: KEEP };
    try {
      if (spec.diskBytes === undefined) {
        return (await this.#client.call('Snapshots.Prepare', request, { signal })).mounts;
      }
      const { mounts } = await this.#client.call('Snapshots.View', request, { signal });
      return await limitedLayer(files, spec.diskBytes, mounts, owner, signal);
    } catch (error) {
      if (isNotFound(error)) this.unpacker.forget(); // the image was swept: the next try unpacks it again
      throw error;
    }
  }

  async start(uid: Id<'instance'>, signal: AbortSignal): Promise<GuestState> {
    // One that was made a moment ago needs no look: the engine says if it is gone meanwhile.
    const fresh = this.#fresh.get(uid);
    this.#fresh.delete(uid);
    const have: GuestState =
      fresh === undefined ? await this.state(uid, signal) : { state: 'created', incarnation: fresh };
    if (have.state === 'absent')
      throw new SkerryError('guest_start_failed', `there is no container ${uid} to start`);
    if (have.state !== 'created') return have;
    const spec = this.folders.read(uid)?.spec;
    let pid: number;
    try {
      if (spec?.security.userNamespace && spec.network?.kind === 'netns') {
        await this.#joinNetwork(uid, spec.network, signal);
      }
      ({ pid } = await this.#client.call('Tasks.Start', { containerId: uid }, { signal }));
    } catch (error) {
      throw translate(error, 'guest_start_failed', `${spec?.name ?? uid} could not be started`);
    }
    const startedAtMs = Date.now();
    const record = this.folders.read(uid);
    if (record) this.folders.write(uid, { ...record, startedAtMs });
    if (record?.exit) return { state: 'exited', incarnation: have.incarnation, exit: record.exit };
    return { state: 'running', incarnation: have.incarnation, pid, startedAtMs };
  }

  /** Of a guest that was made and waits for its start. */
  async #joinNetwork(
    uid: Id<'instance'>,
    network: Extract<GuestSpec['network'], { kind: 'netns' }>,
    signal: AbortSignal,
  ): Promise<void> {
    const task = await this.#task(uid, signal);
    if (!task) throw new SkerryError('guest_start_failed', 'it is gone before its start');
    await handOverNetns(network, task.pid, signal);
    await setNetnsSysctls(network.path, NETWORK_SYSCTLS, signal);
  }

  async stop(uid: Id<'instance'>, graceMs: Millis, signal: AbortSignal): Promise<GuestState> {
    const have = await this.state(uid, signal);
    if (have.state === 'absent' || have.state === 'exited') return have;
    const record = this.folders.read(uid);
    const ask = async (forced: boolean, number: number) => {
      const now = this.folders.read(uid);
      if (now && !now.exit)
        this.folders.write(uid, {
          ...now,
          stop: { askedAtMs: Date.now(), forced: forced || (now.stop?.forced ?? false) },
        });
      try {
        await this.#client.call('Tasks.Kill', { containerId: uid, signal: number, all: forced }, { signal });
      } catch (error) {
        if (!isTaskGone(error)) throw error; // it has ended already
      }
    };
    const look = async () => {
      const now = await this.state(uid, signal);
      return now.state === 'exited' ? now.exit : undefined;
    };
    let forced = graceMs <= 0;
    let exit: GuestExit | undefined;
    if (!forced) {
      await ask(false, signalNumber(record?.stopSignal ?? '') ?? SIGTERM);
      exit = await this.endings.wait(uid, graceMs, look, signal);
      forced = exit === undefined;
    }
    if (forced) {
      await ask(true, SIGKILL);
      exit = await this.endings.wait(uid, FORCED_END_LIMIT_MS, look, signal);
      if (!exit) throw new SkerryError('guest_unresponsive', `${uid} did not end after SIGKILL`);
    }
    return { state: 'exited', incarnation: have.incarnation, exit: exit! };
  }

  async remove(uid: Id<'instance'>, signal: AbortSignal): Promise<GuestState> {
    this.#fresh.delete(uid);
    return this.endings.whileRemoving(uid, () => this.#remove(uid, signal));
  }

  async #remove(uid: Id<'instance'>, signal: AbortSignal): Promise<GuestState> {
    const { engine, identity } = this.#options;
    await this.#endTask(uid, signal);
    // containerd forgets a shim whose end it was not let to wait for; its socket goes when it ends.
    if (hasShimSocket(engine, identity, uid)) await endMakers(identity, uid);
    await this.#gone(this.#client.call('Containers.Delete', { id: uid }, { signal }));
    const files = this.folders.files(uid);
    await unmountGuest(files.folder, signal);
    await this.#gone(this.#client.call('Snapshots.Remove', { key: uid }, { signal }));
    if (!(await clearCgroup(this.cgroup(uid)))) {
      throw new SkerryError('guest_unresponsive', `processes of ${uid} did not end`);
    }
    removeShimSocket(engine, identity, uid);
    rmSync(execFolder(identity, uid), { recursive: true, force: true });
    this.folders.remove(uid);
    return { state: 'absent' };
  }

  async #endTask(uid: Id<'instance'>, signal: AbortSignal): Promise<void> {
    if (this.folders.read(uid)?.startedAtMs !== undefined) {
      await this.#takeTask(uid, signal);
      return;
    }
    // Perhaps it was never made to the end, and its shim may answer to nobody.
    const polite = AbortSignal.any([signal, AbortSignal.timeout(HUNG_SHIM_LIMIT_MS)]);
    const taken = await this.#takeTask(uid, polite).catch((error) => {
      if (signal.aborted || !(polite.aborted || isLate(error))) throw error;
      return false;
    });
    if (taken) return;
    await endMakers(this.#options.identity, uid);
    await this.#takeTask(uid, signal);
  }

  /** Returns whether there was one. */
  async #takeTask(uid: Id<'instance'>, signal: AbortSignal): Promise<boolean> {
    const task = await this.#task(uid, signal);
    if (!task) return false;
    if (task.status !== TASK.stopped) {
      await this.#gone(
        this.#client.call('Tasks.Kill', { containerId: uid, signal: SIGKILL, all: true }, { signal }),
      );
      await this.#gone(
        this.#client.call('Tasks.Wait', { containerId: uid }, { signal, timeoutMs: FORCED_END_LIMIT_MS }),
      );
    }
    await this.#gone(this.#client.call('Tasks.Delete', { containerId: uid }, { signal }));
    return true;
  }

  async #gone(call: Promise<unknown>): Promise<void> {
    try {
      await call;
    } catch (error) {
      if (!isTaskGone(error)) throw error;
    }
  }

  /** Containers of our namespace, folders of containers that were never finished, and shims without either. */
  async list(signal: AbortSignal): Promise<Id<'instance'>[]> {
    const { containers } = await this.#client.call('Containers.List', { filters: [] }, { signal });
    const known = containers.map(({ id }) => id as Id<'instance'>);
    return [...new Set([...known, ...this.folders.list(), ...shimsOf(this.#options.identity)])];
  }
}
