/**
 * One virtual machine from `create` to `remove`. As with unikernels, what is there of it is read from its folder and its
 * processes, and each verb may be repeated after a crash at any of its lines. Its disk is its own for its whole life: a
 * guest that ended is created again over the same disk, until it is removed.
 */
import { chmodSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import {
  cgroupOomKills,
  type Identity,
  isAlive,
  type ProcessRef,
  type QmpClient,
  signalProcess,
  waitForEnd,
} from '@skerry/host';
import type { ImageContent } from '@skerry/images';
import { type GuestExit, type Id, type Millis, SkerryError } from '@skerry/model';
import { keepsRoot } from '../plan-guest.ts';
import type { GuestEvent, GuestSpec, GuestState } from '../port.ts';
import type { Acceleration } from '../qemu/acceleration.ts';
import { GuestFolder } from '../qemu/guest-folder.ts';
import { clearGuest, exitFileOf, qemuOf } from '../qemu/guest-process.ts';
import { launch } from '../qemu/launch.ts';
import { Turns } from '../turns.ts';
import { AgentLine } from './agent-line.ts';
import { AGENT, vmCommand } from './command-line.ts';
import { judgeVmExit } from './exit.ts';
import { LiveVm } from './live-vm.ts';
import { type Arch, BOARDS } from './machine.ts';
import { vmGroupLimits } from './memory.ts';
import { makeFiles, planVm } from './prepare.ts';
import { VMS, type VmFolder, type VmRecord, vmFolder } from './record.ts';
import { remakeFiles } from './remake.ts';
import { readMark } from './snapshot-mark.ts';
import { settle } from './snapshot-steps.ts';

type Uid = Id<'instance'>;

export interface VmGuestsOptions {
  readonly identity: Identity;
  readonly images: ImageContent;
  readonly supervisorPath: string;
  readonly acceleration: (signal: AbortSignal) => Promise<Acceleration>;
  readonly machineFor: (arch: Arch, signal: AbortSignal) => Promise<string>;
  readonly onEvent: (event: GuestEvent) => void;
  /** How often the free space is looked at for one that waits for it. */
  readonly lookEveryMs?: number;
}

export interface VmAtHand {
  readonly folder: VmFolder;
  readonly record: VmRecord;
  /** Undefined where it does not run. */
  readonly qmp: QmpClient | undefined;
  readonly agent: AgentLine;
  /** An agent inside has opened its port. */
  readonly hasAgent: boolean;
  /** Lets file systems go on that may be held still. */
  thaw(): Promise<void>;
}

/** QEMU answers within 100 ms; on a machine under heavy load within seconds. */
const SETTLE_LIMIT_MS = 30_000;
const KNOWN_LIMIT_MS = 1000;
const END_LIMIT_MS = 10_000;
const MONITOR_LIMIT_MS = 1000;
const PRESS_EVERY_MS = 500;
/** What QEMU may take to write its disks back. */
const WRITE_BACK_LIMIT_MS = 30_000;

const startFailed = (text: string, cause?: unknown) => new SkerryError('guest_start_failed', text, { cause });

export class VmGuests {
  readonly #options: VmGuestsOptions;
  readonly #live = new Map<Uid, LiveVm>();
  readonly #turns = new Turns();

  constructor(options: VmGuestsOptions) {
    this.#options = options;
  }

  folder(uid: Uid): VmFolder {
    return vmFolder(this.#options.identity, uid);
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
    const root = record?.made && record.spec.root !== undefined ? { root: record.spec.root } : {};
    if (record?.made === true && record.startedAtMs === undefined)
      return { state: 'created', incarnation, ...root };
    const process = await qemuOf(folder);
    if (!record?.made || !process) {
      // one that was never made whole has no incarnation to go on with
      return {
        state: 'exited',
        incarnation: record?.made ? incarnation : '',
        ...root,
        exit: await this.#exitOf(folder),
      };
    }
    const live = this.watch(uid);
    await Promise.race([live.known, pause(KNOWN_LIMIT_MS, undefined, { ref: false })]);
    return {
      ...{ state: 'running', incarnation, ...root, pid: process.pid, startedAtMs: record.startedAtMs! },
      ...(live.paused ? { paused: { why: live.paused } } : {}),
      ...(live.addresses ? { addresses: live.addresses } : {}),
    };
  }

  /** Watches it from now on. */
  watch(uid: Uid): LiveVm {
    const known = this.#live.get(uid);
    if (known) return known;
    const folder = this.folder(uid);
    const { onEvent, lookEveryMs } = this.#options;
    const live: LiveVm = new LiveVm({
      folder,
      disks: [folder.data, ...(folder.read()?.spec.volumes ?? []).map((volume) => volume.hostPath)],
      onEnd: () => void this.#ended(folder, live),
      onPaused: (message) => onEvent({ type: 'paused', uid, message }),
      onResumed: (message) => onEvent({ type: 'resumed', uid, message }),
      onAddresses: () => onEvent({ type: 'look', uid }),
      onConnected: () => void this.#endWhatWasBegun(uid),
      ...(lookEveryMs === undefined ? {} : { lookEveryMs }),
    });
    this.#live.set(uid, live);
    return live;
  }

  /** What an agent before this one began with it. What fails is tried again before anything else is done with it. */
  async #endWhatWasBegun(uid: Uid): Promise<void> {
    if (readMark(this.folder(uid))) await this.alone(uid, async () => undefined).catch(() => undefined);
  }

  /** The line to the agent inside, for those who do not need the guest for themselves. */
  agent(uid: Uid): AgentLine {
    return this.watch(uid).agent;
  }

  async #ended(folder: VmFolder, live: LiveVm): Promise<void> {
    const exit = await this.#exitOf(folder);
    if (this.#live.get(folder.uid) !== live) return; // let go meanwhile
    this.#live.delete(folder.uid);
    this.#options.onEvent({ type: 'exited', uid: folder.uid, exit });
  }

  async #exitOf(folder: VmFolder): Promise<GuestExit> {
    const record = folder.read();
    return judgeVmExit({
      end: folder.ended(),
      ...(await folder.tail()),
      asked: record?.asked,
      oomKills: cgroupOomKills(folder.cgroup),
      memoryLimitBytes: record ? vmGroupLimits(record).memoryBytes : 0,
      nowMs: Math.max(record?.startedAtMs ?? 0, Date.now()),
    });
  }

  async create(spec: GuestSpec, signal: AbortSignal): Promise<GuestState> {
    const have = await this.state(spec.uid);
    const folder = this.folder(spec.uid);
    if (have.state !== 'absent' && have.incarnation !== spec.incarnation) {
      if (have.state === 'running' || !keepsRoot(spec, have))
        throw startFailed(`${spec.name} is there as another incarnation`);
      await this.#again(folder, spec, signal);
      return this.state(spec.uid);
    }
    if (have.state === 'exited') {
      await this.#again(folder, spec, signal);
      return this.state(spec.uid);
    }
    if (have.state !== 'absent') return have;
    folder.remove(); // what a crash may have left before there was a record
    const { images, machineFor } = this.#options;
    await makeFiles(folder, spec, images, (arch) => machineFor(arch, signal), signal);
    chmodSync(folder.data, 0o700);
    return this.state(spec.uid);
  }

  /** Over the same disk, as a machine that is switched on again. */
  async #again(folder: VmFolder, spec: GuestSpec, signal: AbortSignal): Promise<void> {
    this.#forget(folder.uid);
    await clearGuest(folder);
    await remakeFiles(folder, folder.read()!, spec, this.#options.images, signal);
  }

  async start(uid: Uid, signal: AbortSignal): Promise<GuestState> {
    const have = await this.state(uid);
    if (have.state === 'absent') throw startFailed(`the guest ${uid} was not created`);
    if (have.state !== 'created') return have;
    const folder = this.folder(uid);
    const record = folder.read()!;
    const { spec } = record;
    const acceleration = await this.#options.acceleration(signal);
    folder.clearRun(); // gone as well where the machine was started anew since it was created
    await settle(this.#atHand(folder, record, undefined), signal);
    const plan = await planVm(folder, record, this.#options.images, acceleration, signal);
    folder.write({ ...record, startedAtMs: Date.now() });
    try {
      await this.#launch(folder, record, plan, acceleration, signal);
    } catch (error) {
      await clearGuest(folder);
      folder.write(record);
      throw error;
    }
    await Promise.race([this.watch(uid).live.settled, pause(SETTLE_LIMIT_MS, undefined, { ref: false })]);
    let state = await this.state(uid);
    // One that ends at once closes its monitor before its process is gone.
    const process = state.state === 'running' && !this.watch(uid).qmp ? folder.process() : undefined;
    if (process && (await waitForEnd(process, END_LIMIT_MS, signal))) {
      await exitFileOf(folder);
      state = await this.state(uid);
    }
    if (state.state === 'running' && !this.watch(uid).qmp) {
      this.#forget(uid);
      await clearGuest(folder);
      throw startFailed(`${spec.name} could not be started: QEMU does not answer`);
    }
    if (state.state === 'exited' && state.exit.reason === 'start-failed') {
      this.#forget(uid);
      throw startFailed(`${spec.name} could not be started: ${state.exit.message}`);
    }
    return state;
  }

  async #launch(
    folder: VmFolder,
    record: VmRecord,
    plan: Parameters<typeof vmCommand>[0],
    { group }: Acceleration,
    signal: AbortSignal,
  ): Promise<void> {
    const { spec, arch } = record;
    const { network } = spec;
    await launch(
      {
        ...vmCommand(plan),
        ...{ runFolder: folder.run, logFolder: folder.data, mark: folder.mark },
        supervisorPath: this.#options.supervisorPath,
        cgroup: { path: folder.cgroup, limits: vmGroupLimits(record) },
        ...(group === undefined ? {} : { group }),
        ...(network?.kind === 'tap' ? { tap: network.device } : {}),
        ...(spec.display ? { vnc: 'vnc' } : {}),
        endLimitMs: WRITE_BACK_LIMIT_MS,
        program: BOARDS[arch].program,
      },
      signal,
    );
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
      if (graceMs > 0) {
        folder.write({ ...record, asked: 'stopped' });
        await this.#askToEnd(uid, process, graceMs, signal);
      }
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

  /** The button is pressed again and again: a system that still boots hears of none. */
  async #askToEnd(uid: Uid, process: ProcessRef, graceMs: number, signal: AbortSignal): Promise<void> {
    const until = performance.now() + graceMs;
    while (performance.now() < until && (await this.#pressButton(uid))) {
      const leftMs = until - performance.now();
      if (await waitForEnd(process, Math.min(PRESS_EVERY_MS, leftMs), signal)) return;
    }
  }

  /** ACPI's power button; one that holds still has to run to hear it. Returns whether QEMU took it. */
  async #pressButton(uid: Uid): Promise<boolean> {
    const live = this.watch(uid);
    await Promise.race([live.live.settled, pause(MONITOR_LIMIT_MS, undefined, { ref: false })]);
    try {
      if (live.paused) await live.qmp?.execute('cont', MONITOR_LIMIT_MS);
      return (await live.qmp?.execute('system_powerdown', MONITOR_LIMIT_MS)) !== undefined;
    } catch {
      return !this.folder(uid).process(); // it ended meanwhile, or hangs
    }
  }

  async remove(uid: Uid): Promise<GuestState> {
    const folder = this.folder(uid);
    this.#forget(uid);
    if (folder.exists) await clearGuest(folder);
    folder.remove();
    return { state: 'absent' };
  }

  /** What else is done with one, one after the other. Errors: guest_not_running where it is not there. */
  alone<T>(uid: Uid, task: (about: VmAtHand) => Promise<T>): Promise<T> {
    return this.#turns.take(uid, async () => {
      const folder = this.folder(uid);
      const { state } = await this.state(uid);
      const record = folder.read();
      if (state === 'absent' || !record?.made)
        throw new SkerryError('guest_not_running', `there is no guest ${uid}`);
      const qmp = state === 'running' ? this.watch(uid).qmp : undefined;
      if (state === 'running' && !qmp)
        throw new SkerryError('guest_unresponsive', `the monitor of ${record.spec.name} does not answer`);
      const at = this.#atHand(folder, record, qmp);
      await settle(at, AbortSignal.timeout(SETTLE_LIMIT_MS));
      return task(at);
    });
  }

  #atHand(folder: VmFolder, record: VmRecord, qmp: QmpClient | undefined): VmAtHand {
    const live = qmp && this.watch(folder.uid);
    return {
      ...{ folder, record, qmp, agent: live?.agent ?? new AgentLine(folder.path(AGENT)) },
      hasAgent: live?.hasAgent === true,
      thaw: async () => live?.thaw(),
    };
  }

  list(): Uid[] {
    return GuestFolder.list(this.#options.identity, VMS);
  }
}
