/**
 * One system container from `create` to `remove`. What is there of a guest is read from its folder and its processes, so whoever
 * starts anew knows as much as the one before; each verb may be repeated after a crash at any of its lines.
 */
import { setTimeout as pause } from 'node:timers/promises';
import {
  CgroupEntry,
  heedsSignal,
  type Identity,
  isAlive,
  run,
  signalProcess,
  waitForEnd,
} from '@skerry/host';
import type { ImageContent, RootfsFacts } from '@skerry/images';
import { formatBytes, type GuestExit, type Id, type Millis, SkerryError } from '@skerry/model';
import { keepsRoot } from '../plan-guest.ts';
import type { GuestEvent, GuestSpec, GuestState } from '../port.ts';
import { lxcConfig } from './config.ts';
import { attachCommand } from './exec.ts';
import { judgeExit } from './exit.ts';
import { SystemFolder } from './guest-folder.ts';
import { clearGuest, initOf } from './guest-process.ts';
import { idRange } from './id-ranges.ts';
import { ImageFolders } from './image-folders.ts';
import { initManner } from './init.ts';
import { launch } from './launch.ts';
import { makeLayer, makeSeed } from './make-files.ts';
import { GuestWatch } from './watch.ts';

type Uid = Id<'instance'>;

export interface GuestsOptions {
  readonly identity: Identity;
  readonly images: ImageContent;
  readonly supervisorPath: string;
  readonly emit: (event: GuestEvent) => void;
}

const EXIT_FILE_LIMIT_MS = 5000;
const END_LIMIT_MS = 10_000;
const HALT_LIMIT_MS = 5000;
/** Any init listens by then, or in a way that is not seen. */
const LISTEN_LIMIT_MS = 1000;
const LOOK_EVERY_MS = 5;

export class Guests {
  readonly #options: GuestsOptions;
  readonly images: ImageFolders;
  readonly #watches = new Map<Uid, GuestWatch>();
  readonly #entry = new CgroupEntry();
  /** Of guests that are being made: not all of them stand in a record yet. */
  readonly #ranges = new Map<Uid, number>();

  constructor(options: GuestsOptions) {
    this.#options = options;
    this.images = new ImageFolders(options.identity, options.images);
  }

  folder(uid: Uid): SystemFolder {
    return new SystemFolder(this.#options.identity, uid);
  }

  list(): Uid[] {
    return SystemFolder.list(this.#options.identity);
  }

  /** Lets go of all; they go on. */
  release(): void {
    for (const watch of this.#watches.values()) watch.release();
    this.#watches.clear();
  }

  async state(uid: Uid): Promise<GuestState> {
    const folder = this.folder(uid);
    if (!folder.exists) return { state: 'absent' };
    const record = folder.read();
    const incarnation = record?.spec.incarnation ?? '';
    const root = record?.init && record.spec.root !== undefined ? { root: record.spec.root } : {};
    if (record && record.startedAtMs === undefined)
      // One that was cut off while it was being made has to be made anew.
      return record.init
        ? { state: 'created', incarnation, ...root }
        : { state: 'exited', incarnation, exit: unfinished() };
    const init = record && (await initOf(folder));
    if (!init) return { state: 'exited', incarnation, ...root, exit: await this.#exitOf(folder) };
    return { state: 'running', incarnation, ...root, pid: init.pid, startedAtMs: record.startedAtMs! };
  }

  async #exitOf(folder: SystemFolder): Promise<GuestExit> {
    const record = folder.read();
    return judgeExit({
      end: folder.ended(),
      asked: record?.asked,
      oomCount: folder.oomCount(),
      memoryLimitBytes: record?.spec.memoryBytes ?? 0,
      lastWords: await folder.lastWords(),
      nowMs: Math.max(record?.startedAtMs ?? 0, Date.now()),
    });
  }

  /** Hears of its end and of its want of memory from now on. */
  watch(uid: Uid): void {
    if (this.#watches.has(uid)) return;
    const folder = this.folder(uid);
    const { emit } = this.#options;
    const watch = new GuestWatch(
      folder,
      () => void this.#ended(folder, watch),
      () => {
        const limit = formatBytes(folder.read()?.spec.memoryBytes ?? 0);
        emit({ type: 'oom', uid, message: `a process of it was ended: more than its ${limit} of memory` });
      },
    );
    this.#watches.set(uid, watch);
  }

  async #ended(folder: SystemFolder, watch: GuestWatch): Promise<void> {
    const exit = await this.#exitOf(folder);
    if (this.#watches.get(folder.uid) !== watch) return; // let go meanwhile
    this.#watches.delete(folder.uid);
    this.#options.emit({ type: 'exited', uid: folder.uid, exit });
  }

  async create(spec: GuestSpec, signal: AbortSignal): Promise<GuestState> {
    const have = await this.state(spec.uid);
    const folder = this.folder(spec.uid);
    // A system keeps its files when it is started again, or with other settings.
    const lasts = keepsRoot(spec, have) && have.state !== 'running';
    if (have.state !== 'absent' && !lasts) {
      if (have.incarnation !== spec.incarnation)
        throw new SkerryError('guest_start_failed', `${spec.name} is there as another incarnation`);
      if (folder.read()?.init) return have;
    }
    if (spec.network && spec.network.kind !== 'netns')
      throw new SkerryError('unsupported', 'a system container needs a network namespace, not a tap device');
    for (const { mount } of spec.volumes)
      if (!/^\/[^\0\n]+$/.test(mount) || mount.split('/').includes('..'))
        throw new SkerryError('unsupported', `a volume can not be mounted at "${mount}"`);
    const facts = await this.images.facts(spec.imageDigest);
    const firstId = spec.security.userNamespace ? this.#range(spec.uid) : undefined;
    // What LXC can not be told is refused before anything is made.
    const nothing = { rootfs: '', seccompPath: '', payload: '', monitor: '' };
    lxcConfig(spec, { ...nothing, cgroupMode: 'v2', hasAppArmor: false });
    if (lasts) {
      await this.#remake(folder, spec, firstId, facts, signal);
      return this.state(spec.uid);
    }
    const ids = firstId === undefined ? {} : { firstId };
    try {
      folder.make();
      folder.write({ spec, ...ids }); // first: whoever finds the rest knows whose it is, and its image stays
      const image = await this.images.ensure(spec.imageDigest, facts, signal);
      const init = initManner(spec, facts, image);
      makeSeed(folder, spec, firstId ?? 0);
      await makeLayer(folder, spec, signal);
      folder.write({ spec, ...ids, init });
    } catch (cause) {
      folder.remove();
      throw creationError(spec, cause);
    } finally {
      this.#ranges.delete(spec.uid);
    }
    return this.state(spec.uid);
  }

  /** Over the same layer. A failure leaves it as it was. Errors: unsupported where the layer would have to be another. */
  async #remake(
    folder: SystemFolder,
    spec: GuestSpec,
    firstId: number | undefined,
    facts: RootfsFacts,
    signal: AbortSignal,
  ): Promise<void> {
    const before = folder.read()!;
    if (before.spec.diskBytes !== spec.diskBytes || before.firstId !== firstId) {
      const what = before.firstId === firstId ? 'resources.disk' : 'security.userNamespace';
      throw new SkerryError(
        'unsupported',
        `${spec.name} keeps its files, and ${what} can not be changed under them: delete the workload, or put it back`,
      );
    }
    this.#watches.get(spec.uid)?.release();
    this.#watches.delete(spec.uid);
    await clearGuest(folder);
    const image = await this.images.ensure(spec.imageDigest, facts, signal);
    makeSeed(folder, spec, firstId ?? 0);
    folder.write({
      spec,
      init: initManner(spec, facts, image),
      ...(firstId === undefined ? {} : { firstId }),
    });
    this.#ranges.delete(spec.uid);
  }

  #range(uid: Uid): number {
    const known = this.folder(uid).read()?.firstId;
    if (known !== undefined) return known;
    const recorded = this.list().flatMap((other) => this.folder(other).read()?.firstId ?? []);
    const taken = new Set([...recorded, ...this.#ranges.values()]);
    const first = idRange(this.#options.identity.id, uid, taken);
    this.#ranges.set(uid, first);
    return first;
  }

  async start(uid: Uid, signal: AbortSignal): Promise<GuestState> {
    const have = await this.state(uid);
    if (have.state === 'absent')
      throw new SkerryError('guest_start_failed', `the guest ${uid} was not created`);
    if (have.state !== 'created') return have;
    const folder = this.folder(uid);
    const record = folder.read()!;
    const image = this.images.folder(record.spec.imageDigest);
    folder.clearRun(); // gone as well where the machine was started anew since it was created
    const started = { ...record, startedAtMs: Date.now() };
    folder.write(started);
    const letGo = this.#entry.hold();
    try {
      await launch(folder, started, image, this.#options.supervisorPath, signal);
    } catch (error) {
      await clearGuest(folder);
      folder.write(record);
      throw error;
    } finally {
      letGo();
    }
    this.watch(uid);
    return this.state(uid);
  }

  async stop(uid: Uid, graceMs: Millis, signal: AbortSignal): Promise<GuestState> {
    const have = await this.state(uid);
    const folder = this.folder(uid);
    const init = folder.init();
    const record = folder.read();
    if (have.state !== 'running' || !init || !record) return have;
    try {
      if (graceMs > 0) {
        folder.write({ ...record, asked: 'stopped' });
        const until = performance.now() + graceMs;
        await this.#ask(folder, until, signal);
        await waitForEnd(init, Math.max(0, until - performance.now()), signal);
      }
      if (isAlive(init)) {
        folder.write({ ...record, asked: 'killed' });
        signalProcess(init, 'SIGKILL');
        if (!(await waitForEnd(init, END_LIMIT_MS, signal)))
          throw new SkerryError('guest_unresponsive', `init ${init.pid} did not end after SIGKILL`);
      }
    } catch (error) {
      if (isAlive(init)) folder.write(record); // it goes on: a later end is its own
      throw signal.aborted ? new SkerryError('cancelled', 'the stop was cancelled', { cause: error }) : error;
    }
    const until = performance.now() + EXIT_FILE_LIMIT_MS;
    while (!folder.ended() && folder.supervisors().length > 0 && performance.now() < until) await pause(5);
    return this.state(uid);
  }

  async #ask(folder: SystemFolder, until: number, signal: AbortSignal): Promise<void> {
    const record = folder.read();
    const init = folder.init();
    if (!record?.init || !init) return;
    const { halt } = record.init;
    if ('signal' in halt) {
      // Right after its start it does not listen yet, and what init does not listen to is lost (pid_namespaces(7)).
      const sendAt = Math.min(until, performance.now() + LISTEN_LIMIT_MS);
      while (!heedsSignal(init.pid, halt.signal) && isAlive(init) && performance.now() < sendAt)
        await pause(LOOK_EVERY_MS, undefined, { signal });
      return signalProcess(init, halt.signal);
    }
    const [file, args] = attachCommand(folder, record, halt.command);
    await run(file, args, { signal, timeoutMs: HALT_LIMIT_MS }).catch((error) => {
      if (signal.aborted) throw error; // else it is forced when its time is over
    });
  }

  async remove(uid: Uid): Promise<GuestState> {
    const folder = this.folder(uid);
    this.#watches.get(uid)?.release();
    this.#watches.delete(uid);
    if (folder.exists) {
      await clearGuest(folder);
      folder.remove();
      await this.sweepImages();
    }
    return { state: 'absent' };
  }

  async sweepImages(): Promise<void> {
    const used = this.list().flatMap((uid) => this.folder(uid).read()?.spec.imageDigest ?? []);
    await this.images.sweep(new Set(used));
  }
}

const unfinished = (): GuestExit => ({
  reason: 'start-failed',
  message: 'was not made to the end: the node stopped meanwhile',
  atMs: Date.now(),
});

/** Errors of files are told as what they mean for the guest; others stay as they are. */
function creationError(spec: GuestSpec, cause: unknown): SkerryError {
  if (cause instanceof SkerryError && !/No space left on device/.test(cause.message)) return cause;
  const full = (cause as NodeJS.ErrnoException).code === 'ENOSPC' || cause instanceof SkerryError;
  const text = `the files of ${spec.name} could not be made: ${(cause as Error).message}`;
  return new SkerryError(full ? 'disk_full' : 'guest_start_failed', text, { cause });
}
