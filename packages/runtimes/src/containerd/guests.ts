/**
 * One container from `create` to `remove` on an engine that answers. Each verb may be repeated after a crash at any of its
 * lines: it looks at what is there first. A failed `create` leaves nothing.
 */
import type { Identity } from '@skerry/host';
import { cgroupHasSwapLimit, cgroupOomKills, openFilesLimit } from '@skerry/host';
import type { ImageContent } from '@skerry/images';
import { type GuestExit, type Id, type Millis, SkerryError } from '@skerry/model';
import type { GuestSpec, GuestState } from '../port.ts';
import { jsonAny, type Mount, packAny, toMillis } from './api.ts';
import { type EngineClient, isNotFound, TASK } from './client.ts';
import type { Engine } from './engine.ts';
import { judgeExit, signalNumber, vanished } from './exit-judge.ts';
import { translate } from './failures.ts';
import { type GuestFiles, GuestFolders, type GuestRecord } from './guest-files.ts';
import { ImageUnpacker } from './image-unpack.ts';
import { USER_NAMESPACE } from './layer-source.ts';
import { clearCgroup, removeShimSocket, unmountGuest } from './leftovers.ts';
import type { Logger } from './logger.ts';
import { OPEN_FILES, processSpec, runtimeSpec, type SpecInput } from './oci-spec.ts';
import { isPlainRoot, layerFolders, resolveUser } from './oci-user.ts';
import { limitedLayer } from './writable-layer.ts';

const RUNTIME = 'io.containerd.runc.v2';
const INCARNATION = 'skerry/incarnation';
const KEEP = { 'containerd.io/gc.root': '1' } as const;
const SIGKILL = 9;
const SIGTERM = 15;
const FORCED_END_LIMIT_MS = 10_000;
/** A memory kill this long before the end is taken as its reason although the end has another code. */
const OOM_REASON_MS = 2000;

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
  readonly #oomAtMs = new Map<string, number>();
  readonly #releasing = new Map<string, Promise<void>>();
  readonly #swapLimit = cgroupHasSwapLimit();

  constructor(options: GuestsOptions) {
    this.#options = options;
    this.#client = options.engine.client;
    this.folders = new GuestFolders(options.identity);
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
    try {
      const { process } = await this.#client.call('Tasks.Get', { containerId: uid }, { signal });
      if (process.status === TASK.created) return { state: 'created', incarnation };
      if (process.status === TASK.stopped) {
        const exit = this.ended(uid, process.exitStatus, toMillis(process.exitedAt));
        return { state: 'exited', incarnation, exit: exit ?? vanished(Date.now()) };
      }
      if (process.status >= TASK.running) {
        const startedAtMs = record?.startedAtMs ?? Date.now();
        return { state: 'running', incarnation, pid: process.pid, startedAtMs };
      }
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    const exit = vanished(Date.now());
    if (record) this.#finish(uid, record, exit);
    return { state: 'exited', incarnation, exit };
  }

  async create(spec: GuestSpec, signal: AbortSignal): Promise<GuestState> {
    const { uid } = spec;
    const have = await this.state(uid, signal);
    const same = have.state !== 'absent' && have.incarnation === spec.incarnation;
    if (same && (have.state === 'created' || have.state === 'running')) return have;
    if (have.state !== 'absent' || this.folders.has(uid)) await this.remove(uid, signal);
    try {
      await this.#make(spec, signal);
      return { state: 'created', incarnation: spec.incarnation };
    } catch (error) {
      await this.remove(uid, AbortSignal.timeout(30_000)).catch((left) =>
        this.#options.logger.warn({ err: left, uid }, 'a container that was not made left things'),
      );
      throw translate(error, 'guest_start_failed', `${spec.name} could not be made`);
    }
  }

  async #make(spec: GuestSpec, signal: AbortSignal): Promise<void> {
    const { uid } = spec;
    const shift = spec.security.userNamespace ? USER_NAMESPACE.firstHostId : undefined;
    const { image, snapshot } = await this.unpacker.unpack(spec.imageDigest, shift);
    const files = this.folders.create(spec, shift ?? 0);
    const name = spec.security.user ?? image.config.user ?? '';
    const preparing = this.#rootfs(spec, snapshot, files, shift ?? 0, signal);
    preparing.catch(() => undefined); // heard of below
    const layers = isPlainRoot(name) ? [] : layerFolders(await preparing);
    const input: SpecInput = {
      guest: spec,
      image: image.config,
      user: resolveUser(name, layers),
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
    const [rootfs] = await Promise.all([
      preparing,
      this.#client.call('Containers.Create', { container }, { signal }),
    ]);
    const query = `--folder=${encodeURIComponent(files.folder)}`;
    const output = `binary://${encodeURI(this.#options.logProgram)}?${query}`;
    await this.#client.call(
      'Tasks.Create',
      {
        containerId: uid,
        rootfs,
        stdout: output,
        stderr: output,
        options: packAny('containerd.runc.v1.Options', { root: this.#options.engine.paths.runc }),
      },
      { signal },
    );
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
    const have = await this.state(uid, signal);
    if (have.state === 'absent')
      throw new SkerryError('guest_start_failed', `there is no container ${uid} to start`);
    if (have.state !== 'created') return have;
    let pid: number;
    try {
      ({ pid } = await this.#client.call('Tasks.Start', { containerId: uid }, { signal }));
    } catch (error) {
      throw translate(
        error,
        'guest_start_failed',
        `${this.folders.read(uid)?.spec.name ?? uid} could not be started`,
      );
    }
    const startedAtMs = Date.now();
    const record = this.folders.read(uid);
    if (record) this.folders.write(uid, { ...record, startedAtMs });
    if (record?.exit) return { state: 'exited', incarnation: have.incarnation, exit: record.exit };
    return { state: 'running', incarnation: have.incarnation, pid, startedAtMs };
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
        if (!isNotFound(error)) throw error; // it has ended already
      }
    };
    let forced = graceMs <= 0;
    let ended: { code: number; atMs: number } | undefined;
    if (!forced) {
      await ask(false, signalNumber(record?.stopSignal ?? '') ?? SIGTERM);
      ended = await this.#waitForEnd(uid, graceMs, signal);
      forced = ended === undefined;
    }
    if (forced) {
      await ask(true, SIGKILL);
      ended = await this.#waitForEnd(uid, FORCED_END_LIMIT_MS, signal);
      if (!ended) throw new SkerryError('guest_unresponsive', `${uid} did not end after SIGKILL`);
    }
    const exit = this.ended(uid, ended!.code, ended!.atMs) ?? vanished(Date.now());
    return { state: 'exited', incarnation: have.incarnation, exit };
  }

  /** Its code and time, or undefined when it still runs after `limitMs`. */
  async #waitForEnd(uid: Id<'instance'>, limitMs: number, signal: AbortSignal) {
    const over = AbortSignal.timeout(Math.max(1, Math.ceil(limitMs)));
    try {
      const { exitStatus, exitedAt } = await this.#client.call(
        'Tasks.Wait',
        { containerId: uid },
        { signal: AbortSignal.any([signal, over]), timeoutMs: limitMs + 60_000 },
      );
      return { code: exitStatus, atMs: toMillis(exitedAt) };
    } catch (error) {
      if (over.aborted && !signal.aborted) return undefined;
      const exit = this.folders.read(uid)?.exit;
      if (isNotFound(error) && exit) return { code: exit.code ?? 0, atMs: exit.atMs };
      throw error;
    }
  }

  outOfMemory(uid: Id<'instance'>, atMs: number): void {
    if (this.folders.has(uid)) this.#oomAtMs.set(uid, atMs);
  }

  /** Takes note of an end, once: whoever hears of it first. Nothing waits in here, so nobody comes between. */
  ended(uid: Id<'instance'>, code: number, atMs: number): GuestExit | undefined {
    const record = this.folders.read(uid);
    if (!record || record.exit) return record?.exit;
    const oomAtMs = this.#oomAtMs.get(uid);
    const oomJustBefore = oomAtMs !== undefined && Math.abs(atMs - oomAtMs) < OOM_REASON_MS;
    const exit = judgeExit({
      code,
      atMs,
      outOfMemory: oomJustBefore || (code === 128 + SIGKILL && cgroupOomKills(this.cgroup(uid)) > 0),
      memoryLimitBytes: record.spec.memoryBytes,
      stop: record.stop,
    });
    this.#finish(uid, record, exit);
    return exit;
  }

  #finish(uid: Id<'instance'>, record: GuestRecord, exit: GuestExit): void {
    this.folders.write(uid, { ...record, exit });
    this.#oomAtMs.delete(uid);
    this.#release(uid);
    this.#options.onExit(uid, exit);
  }

  /** Its shim costs memory until the task is deleted; what is worth knowing has been written down. */
  #release(uid: Id<'instance'>): void {
    const release = this.#client
      .call('Tasks.Delete', { containerId: uid })
      .catch(() => undefined)
      .then(() => {
        this.#releasing.delete(uid);
      });
    this.#releasing.set(uid, release);
  }

  /** After a break: those that ended, and whose task nobody deleted since. */
  releaseEnded(): void {
    for (const uid of this.folders.list()) {
      if (this.folders.read(uid)?.exit && !this.#releasing.has(uid)) this.#release(uid);
    }
  }

  /** Whether all that it wrote is in its log: its log program ends with its task. */
  hasLastWords(uid: Id<'instance'>): boolean {
    const record = this.folders.read(uid);
    return record === undefined || (record.exit !== undefined && !this.#releasing.has(uid));
  }

  async lastWords(uid: Id<'instance'>): Promise<void> {
    await this.#releasing.get(uid);
  }

  async remove(uid: Id<'instance'>, signal: AbortSignal): Promise<GuestState> {
    const { engine, identity } = this.#options;
    await this.#releasing.get(uid);
    await this.#endTask(uid, signal);
    await this.#gone(this.#client.call('Containers.Delete', { id: uid }, { signal }));
    const files = this.folders.files(uid);
    await unmountGuest(files.folder, signal);
    await this.#gone(this.#client.call('Snapshots.Remove', { key: uid }, { signal }));
    if (!(await clearCgroup(this.cgroup(uid)))) {
      throw new SkerryError('guest_unresponsive', `processes of ${uid} did not end`);
    }
    removeShimSocket(engine, identity, uid);
    this.#oomAtMs.delete(uid);
    this.folders.remove(uid);
    return { state: 'absent' };
  }

  async #endTask(uid: Id<'instance'>, signal: AbortSignal): Promise<void> {
    try {
      const { process } = await this.#client.call('Tasks.Get', { containerId: uid }, { signal });
      if (process.status !== TASK.stopped) {
        await this.#gone(
          this.#client.call('Tasks.Kill', { containerId: uid, signal: SIGKILL, all: true }, { signal }),
        );
        await this.#gone(
          this.#client.call('Tasks.Wait', { containerId: uid }, { signal, timeoutMs: FORCED_END_LIMIT_MS }),
        );
      }
      await this.#gone(this.#client.call('Tasks.Delete', { containerId: uid }, { signal }));
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  async #gone(call: Promise<unknown>): Promise<void> {
    try {
      await call;
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  /** Containers of our namespace, and folders of containers that were never finished. */
  async list(signal: AbortSignal): Promise<Id<'instance'>[]> {
    const { containers } = await this.#client.call('Containers.List', { filters: [] }, { signal });
    return [...new Set([...containers.map(({ id }) => id as Id<'instance'>), ...this.folders.list()])];
  }
}
