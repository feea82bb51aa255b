/**
 * One unikernel from `create` to `remove`. What is there of a guest is read from its folder and its processes, so whoever
 * starts anew knows as much as the one before; each verb may be repeated after a crash at any of its lines.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { cgroupOomKills, type Identity, isAlive, signalProcess, waitForEnd } from '@skerry/host';
import type { ImageContent } from '@skerry/images';
import { type GuestExit, type Id, type Millis, SkerryError } from '@skerry/model';
import { keepsRoot } from '../plan-guest.ts';
import type { GuestSpec, GuestState } from '../port.ts';
import type { Acceleration } from './acceleration.ts';
import { judgeExit } from './exit.ts';
import { makeGuestDisks } from './families/guest-disks.ts';
import { missing } from './families/needs.ts';
import { rulesOf } from './families/rules.ts';
import { checkWishes, guestProgram } from './families/start.ts';
import { GuestFolder } from './guest-folder.ts';
import { clearGuest, exitFileOf, qemuOf } from './guest-process.ts';
import { type KernelImage, kernelImage } from './kernel-image.ts';
import { launch } from './launch.ts';
import { LiveGuest } from './live-guest.ts';
import { groupLimits } from './memory.ts';

type Uid = Id<'instance'>;

export interface GuestsOptions {
  readonly identity: Identity;
  readonly images: ImageContent;
  readonly kernelPath: string;
  readonly supervisorPath: string;
  readonly acceleration: (signal: AbortSignal) => Promise<Acceleration>;
  /** Where programs are looked for that no package of Debian has; default: the usual folders. */
  readonly programFolders?: readonly string[];
  /** Called once for each end that was watched. */
  readonly onExit: (uid: Uid, exit: GuestExit) => void;
}

/** QEMU answers within 50 ms; on a machine under heavy load within seconds. */
const SETTLE_LIMIT_MS = 30_000;
const END_LIMIT_MS = 10_000;
const MONITOR_LIMIT_MS = 1000;
/** After `quit` QEMU ends at once; a machine under load is given so long. */
const QUIT_LIMIT_MS = 3000;

export class Guests {
  readonly #options: GuestsOptions;
  readonly #live = new Map<Uid, LiveGuest>();

  constructor(options: GuestsOptions) {
    this.#options = options;
  }

  folder(uid: Uid): GuestFolder {
    return new GuestFolder(this.#options.identity, uid);
  }

  /** Lets go of all; they go on. */
  release(): void {
    for (const live of this.#live.values()) live.release();
    this.#live.clear();
  }

  async state(uid: Uid): Promise<GuestState> {
    const folder = this.folder(uid);
    if (!folder.exists) return { state: 'absent' };
    const record = folder.read();
    const incarnation = record?.spec.incarnation ?? '';
    const root = record?.spec.root === undefined ? {} : { root: record.spec.root };
    if (record && record.startedAtMs === undefined) return { state: 'created', incarnation, ...root };
    const process = await qemuOf(folder);
    if (!record || !process) {
      return { state: 'exited', incarnation, ...root, exit: await this.#exitOf(folder) };
    }
    return { state: 'running', incarnation, ...root, pid: process.pid, startedAtMs: record.startedAtMs! };
  }

  /** Watches for its end from now on. */
  watch(uid: Uid): LiveGuest {
    const known = this.#live.get(uid);
    if (known) return known;
    const folder = this.folder(uid);
    const live = new LiveGuest(folder, { onEnd: () => void this.#ended(folder, live) });
    this.#live.set(uid, live);
    return live;
  }

  async #ended(folder: GuestFolder, live: LiveGuest): Promise<void> {
    const exit = await this.#exitOf(folder);
    if (this.#live.get(folder.uid) !== live) return; // let go meanwhile
    this.#live.delete(folder.uid);
    this.#options.onExit(folder.uid, exit);
  }

  async #exitOf(folder: GuestFolder): Promise<GuestExit> {
    const record = folder.read();
    return judgeExit({
      end: folder.ended(),
      ...(await folder.tail()),
      asked: record?.asked,
      family: record?.family ?? 'generic',
      oomKills: cgroupOomKills(folder.cgroup),
      memoryLimitBytes: record ? groupLimits(record.spec).memoryBytes : 0,
      nowMs: Math.max(record?.startedAtMs ?? 0, Date.now()),
    });
  }

  async create(spec: GuestSpec, signal: AbortSignal): Promise<GuestState> {
    const have = await this.state(spec.uid);
    // Over the block devices of the one that is there, as a machine that is switched on again.
    const again = have.state !== 'running' && keepsRoot(spec, have);
    if (have.state !== 'absent') {
      if (have.incarnation === spec.incarnation && !(again && have.state === 'exited')) return have;
      if (!again) throw new SkerryError('guest_start_failed', `${spec.name} is there as another incarnation`);
    }
    if (spec.network && spec.network.kind !== 'tap')
      throw new SkerryError('unsupported', 'a unikernel needs a tap device, not a network namespace');
    if (spec.volumes.length > 0)
      throw new SkerryError(
        'unsupported',
        'a unikernel has no file system that a volume could be mounted in',
      );
    const { images, kernelPath } = this.#options;
    const image = await kernelImage(images, spec.imageDigest, kernelPath);
    checkWishes(spec, image);
    await this.#checkNeeds(spec, image, signal);
    const folder = this.folder(spec.uid);
    const rules = rulesOf(image.family);
    const hasButton = image.kind === 'unikernel' && image.machine !== 'microvm' && !image.tender;
    try {
      if (again) {
        this.#forget(spec.uid);
        await clearGuest(folder);
      }
      folder.make();
      await makeGuestDisks(folder.data, image, spec, signal);
      if (again) folder.clearLog();
      folder.write({
        spec,
        family: image.tender ? 'solo5-tender' : image.family,
        powerButton: hasButton && rules.powerButton,
      });
    } catch (cause) {
      if (!again) folder.remove();
      throw creationError(spec, cause);
    }
    return this.state(spec.uid);
  }

  /** Errors: unsupported with what this node lacks. */
  async #checkNeeds(spec: GuestSpec, image: KernelImage, signal: AbortSignal): Promise<void> {
    if (image.needs.length === 0) return;
    const { acceleration, programFolders } = this.#options;
    const why = await missing(image.needs, await acceleration(signal), programFolders);
    if (why !== undefined)
      throw new SkerryError('unsupported', `${spec.name} can not be started on this node: ${why}`);
  }

  async start(uid: Uid, signal: AbortSignal): Promise<GuestState> {
    const have = await this.state(uid);
    if (have.state === 'absent')
      throw new SkerryError('guest_start_failed', `the guest ${uid} was not created`);
    if (have.state !== 'created') return have;
    const folder = this.folder(uid);
    const record = folder.read()!;
    const { spec } = record;
    const { images, kernelPath, supervisorPath, acceleration: accelerated } = this.#options;
    const [acceleration, image] = await Promise.all([
      accelerated(signal),
      kernelImage(images, spec.imageDigest, kernelPath),
    ]);
    const nowMs = Date.now();
    folder.clearRun(); // gone as well where the machine was started anew since it was created
    folder.write({ ...record, startedAtMs: nowMs });
    const chance = { nowMs, seed: randomBytes(32).toString('hex') };
    const { programFolders } = this.#options;
    try {
      await this.#checkNeeds(spec, image, signal);
      const program = guestProgram(spec, image, {
        ...{ acceleration, dataFolder: folder.data, supervisorPath, chance },
        ...(programFolders ? { programFolders } : {}),
      });
      await launch(
        {
          ...{ supervisorPath, runFolder: folder.run, logFolder: folder.data, mark: folder.mark },
          cgroup: { path: folder.cgroup, limits: groupLimits(spec) },
          ...(acceleration.group === undefined ? {} : { group: acceleration.group }),
          ...program,
        },
        signal,
      );
    } catch (error) {
      await clearGuest(folder);
      folder.write(record);
      throw error;
    }
    await Promise.race([this.watch(uid).settled, pause(SETTLE_LIMIT_MS, undefined, { ref: false })]);
    const state = await this.state(uid);
    if (state.state === 'running' && !this.watch(uid).qmp) {
      this.#forget(uid);
      await clearGuest(folder);
      throw new SkerryError('guest_start_failed', `${spec.name} could not be started: QEMU does not answer`);
    }
    if (state.state === 'exited' && state.exit.reason === 'start-failed') {
      this.#forget(uid);
      throw new SkerryError('guest_start_failed', `${spec.name} could not be started: ${state.exit.message}`);
    }
    return state;
  }

  #forget(uid: Uid): void {
    this.#live.get(uid)?.release();
    this.#live.delete(uid);
  }

  async stop(uid: Uid, graceMs: Millis, signal: AbortSignal): Promise<GuestState> {
    const have = await this.state(uid);
    const folder = this.folder(uid);
    const process = folder.process();
    if (have.state !== 'running' || !process) return have;
    const record = folder.read()!;
    try {
      if (graceMs > 0) await this.#ask(folder, graceMs, signal);
      if (isAlive(process)) {
        folder.write({ ...record, asked: 'killed' });
        signalProcess(process, 'SIGKILL');
        if (!(await waitForEnd(process, END_LIMIT_MS, signal)))
          throw new SkerryError('guest_unresponsive', `QEMU ${process.pid} did not end after SIGKILL`);
      }
    } catch (error) {
      if (isAlive(process)) folder.write(record); // it goes on: a later end is its own
      throw signal.aborted ? new SkerryError('cancelled', 'the stop was cancelled', { cause: error }) : error;
    }
    await exitFileOf(folder);
    return this.state(uid);
  }

  /** By the power button where it has one. Otherwise its machine is switched off: nothing of it could be saved. */
  async #ask(folder: GuestFolder, graceMs: number, signal: AbortSignal): Promise<void> {
    const process = folder.process();
    const record = folder.read();
    if (!process || !record) return;
    folder.write({ ...record, asked: 'stopped' });
    const live = this.watch(folder.uid);
    await Promise.race([live.settled, pause(MONITOR_LIMIT_MS)]);
    const command = record.powerButton ? 'system_powerdown' : 'quit';
    const answer = live.qmp?.execute(command, MONITOR_LIMIT_MS).then(
      () => true,
      () => !isAlive(process),
    );
    if (!(await answer)) return; // nobody heard it: waiting is of no use
    await waitForEnd(process, record.powerButton ? graceMs : Math.min(graceMs, QUIT_LIMIT_MS), signal);
  }

  async remove(uid: Uid): Promise<GuestState> {
    const folder = this.folder(uid);
    this.#forget(uid);
    if (folder.exists) await clearGuest(folder);
    folder.remove();
    return { state: 'absent' };
  }

  list(): Uid[] {
    return GuestFolder.list(this.#options.identity);
  }
}

/** Errors of files are told as what they mean for the guest; others stay as they are. */
function creationError(spec: GuestSpec, cause: unknown): SkerryError {
  if (cause instanceof SkerryError && !/No space left on device/.test(cause.message)) return cause;
  const { code } = cause as NodeJS.ErrnoException;
  const full = code === 'ENOSPC' || cause instanceof SkerryError;
  const text = `the folder of ${spec.name} could not be made: ${(cause as Error).message}`;
  return new SkerryError(full ? 'disk_full' : 'guest_start_failed', text, { cause });
}
