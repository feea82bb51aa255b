/**
 * The unikernel runtime: one QEMU for each guest, under skerry-run, none a child of ours. What is there of a guest is read
 * from its folder and its process, so a runtime that starts anew knows as much as the one before.
 */
import { rm } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import {
  cgroupOomKills,
  cgroupUsage,
  type Identity,
  removeCgroup,
  signalProcess,
  waitForEnd,
} from '@skerry/host';
import type { ImageContent } from '@skerry/images';
import {
  type Bytes,
  type GuestStats,
  type Id,
  type LogLine,
  type LogOptions,
  type Millis,
  type ProbeFinding,
  SkerryError,
} from '@skerry/model';
import { EventQueue } from '../containerd/event-queue.ts';
import { logLines } from '../containerd/log-lines.ts';
import { planGuest } from '../plan-guest.ts';
import type { ConsolePower, GuestEvent, GuestSpec, GuestState, GuestStep, Runtime } from '../port.ts';
import { type Acceleration, probeAcceleration } from './acceleration.ts';
import { openConsole } from './console.ts';
import { judgeExit } from './exit.ts';
import { GuestFolder } from './guest-folder.ts';
import { kernelImage, launch, overheadBytes } from './launch.ts';
import { LiveGuest } from './live-guest.ts';
import { probeQemu } from './probe.ts';

export interface QemuLogger {
  warn(fields: object, text: string): void;
}
export interface QemuRuntimeOptions {
  readonly identity: Identity;
  readonly images: ImageContent;
  /** pebble.elf: the kernel of functions. */
  readonly kernelPath: string;
  /** skerry-run. */
  readonly supervisorPath: string;
  readonly logger: QemuLogger;
}

const TAIL_LINES = 20;

export function createQemuRuntime(options: QemuRuntimeOptions): Runtime {
  return new QemuRuntime(options);
}

class QemuRuntime implements Runtime {
  readonly kind = 'unikernel';
  readonly #options: QemuRuntimeOptions;
  readonly #live = new Map<string, LiveGuest>();
  readonly #events = new EventQueue();
  #acceleration: Promise<Acceleration> | undefined;

  readonly console: ConsolePower = {
    open: async (uid, signal) => {
      const folder = this.#folder(uid);
      if (!folder.process())
        throw new SkerryError('guest_not_running', 'the guest does not run: it has no console');
      return openConsole(folder.path('console'), signal);
    },
  };

  constructor(options: QemuRuntimeOptions) {
    this.#options = options;
  }

  async start(signal: AbortSignal): Promise<void> {
    await this.#accelerated(signal);
  }

  async stop(): Promise<void> {
    for (const live of this.#live.values()) live.release();
    this.#live.clear();
  }

  async destroy(signal: AbortSignal): Promise<void> {
    const { identity } = this.#options;
    for (const uid of await this.list(signal)) await this.#remove(uid);
    await rm(`${identity.runDir}/g`, { recursive: true, force: true });
    await rm(`${identity.runDir}/acceleration.json`, { force: true });
    removeCgroup(identity.cgroup);
  }

  probe(signal: AbortSignal): Promise<ProbeFinding[]> {
    return probeQemu(() => this.#accelerated(signal), signal);
  }

  list(_signal: AbortSignal): Promise<Id<'instance'>[]> {
    return GuestFolder.list(this.#options.identity);
  }

  plan(want: GuestSpec | undefined, have: GuestState, uid: Id<'instance'>, graceMs: Millis): GuestStep[] {
    return planGuest(want, have, uid, graceMs);
  }

  overheadBytes(memoryBytes: Bytes): Bytes {
    return overheadBytes(memoryBytes);
  }

  events(signal: AbortSignal): AsyncIterable<GuestEvent> {
    return this.#events.listen(signal);
  }

  async recover(uid: Id<'instance'>, _signal: AbortSignal): Promise<GuestState> {
    const folder = this.#folder(uid);
    const file = folder.read();
    if (!file) return { state: 'absent' };
    const { incarnation } = file.spec;
    const process = folder.process();
    if (process && !folder.ended()) {
      await this.#attach(folder).catch(() => undefined);
      return { state: 'running', incarnation, pid: process.pid, startedAtMs: file.createdAtMs };
    }
    if (!folder.wasStarted && !folder.ended()) return { state: 'created', incarnation };
    return { state: 'exited', incarnation, exit: await this.#exitOf(folder) };
  }

  async apply(step: GuestStep, signal: AbortSignal): Promise<GuestState> {
    switch (step.do) {
      case 'create':
        return this.#create(step.spec, signal);
      case 'start':
        return this.#start(step.uid, signal);
      case 'stop':
        return this.#stop(step.uid, step.graceMs, signal);
      case 'remove':
        await this.#remove(step.uid);
        return { state: 'absent' };
    }
  }

  async stats(uid: Id<'instance'>, _signal: AbortSignal): Promise<GuestStats> {
    const folder = this.#folder(uid);
    const file = folder.read();
    if (!file || !folder.process())
      throw new SkerryError('guest_not_running', 'the guest does not run: there is nothing to measure');
    const { cpuMs = 0, memoryBytes = 0, pids } = cgroupUsage(folder.cgroup);
    const limit = file.spec.memoryBytes + overheadBytes(file.spec.memoryBytes);
    return { cpuMs, memoryBytes, memoryLimitBytes: limit, ...(pids === undefined ? {} : { pids }) };
  }

  logs(uid: Id<'instance'>, options: LogOptions, signal: AbortSignal): AsyncIterable<LogLine> {
    const folder = this.#folder(uid);
    return logLines(folder.data, options, signal, () => folder.process() === undefined);
  }

  #folder(uid: Id<'instance'>): GuestFolder {
    return new GuestFolder(this.#options.identity, uid);
  }

  #accelerated(signal: AbortSignal): Promise<Acceleration> {
    this.#acceleration ??= probeAcceleration(this.#options.identity, this.#options.kernelPath, signal);
    this.#acceleration.catch(() => {
      this.#acceleration = undefined;
    });
    return this.#acceleration;
  }

  async #create(spec: GuestSpec, signal: AbortSignal): Promise<GuestState> {
    const have = await this.recover(spec.uid, signal);
    if (have.state !== 'absent') {
      if (have.incarnation === spec.incarnation) return have;
      throw new SkerryError('internal', `the guest ${spec.uid} exists as another incarnation`);
    }
    await kernelImage(this.#options.images, spec.imageDigest, this.#options.kernelPath); // refused before anything is made
    await this.#folder(spec.uid).make({ spec, createdAtMs: Date.now() });
    return { state: 'created', incarnation: spec.incarnation };
  }

  async #start(uid: Id<'instance'>, signal: AbortSignal): Promise<GuestState> {
    const have = await this.recover(uid, signal);
    if (have.state === 'running' || have.state === 'exited') return have;
    const folder = this.#folder(uid);
    const file = folder.read();
    if (!file) throw new SkerryError('guest_start_failed', `the guest ${uid} was not created`);
    const { images, kernelPath, supervisorPath } = this.#options;
    const [acceleration, image] = await Promise.all([
      this.#accelerated(signal),
      kernelImage(images, file.spec.imageDigest, kernelPath),
    ]);
    const attach = () => this.#attach(folder);
    const live = await launch(folder, file.spec, { supervisorPath, acceleration, image, attach, signal });
    return {
      state: 'running',
      incarnation: file.spec.incarnation,
      pid: live.process.pid,
      startedAtMs: Date.now(),
    };
  }

  async #attach(folder: GuestFolder): Promise<LiveGuest | undefined> {
    const known = this.#live.get(folder.uid);
    if (known) return known;
    const process = folder.process();
    if (!process) return undefined;
    const live = new LiveGuest(folder, process, () => void this.#ended(folder));
    this.#live.set(folder.uid, live);
    try {
      const qmp = await live.attach();
      // An agent that died between start and `cont` left the guest waiting.
      const { status } = await qmp.execute('query-status');
      if (status === 'prelaunch') await qmp.execute('cont');
      return live;
    } catch (error) {
      live.release();
      this.#live.delete(folder.uid);
      throw error;
    }
  }

  async #ended(folder: GuestFolder): Promise<void> {
    const exit = await this.#exitOf(folder);
    this.#events.emit({ type: 'exited', uid: folder.uid, exit });
  }

  async #exitOf(folder: GuestFolder) {
    const file = folder.read();
    const ended = folder.ended();
    const live = this.#live.get(folder.uid);
    const tail: string[] = [];
    for await (const line of logLines(
      folder.data,
      { tail: TAIL_LINES },
      new AbortController().signal,
      () => true,
    ))
      tail.push(line.text);
    const begun = file?.createdAtMs ?? 0;
    return judgeExit({
      ...(ended ? { ended } : {}),
      ...(live?.shutdown === undefined ? {} : { shutdown: live.shutdown }),
      ...(file?.asked ? { asked: file.asked } : {}),
      panicked: live?.panicked ?? false,
      consoleTail: tail,
      oomKills: cgroupOomKills(folder.cgroup),
      memoryBytes: file ? file.spec.memoryBytes + overheadBytes(file.spec.memoryBytes) : 0,
      nowMs: Math.max(begun, Date.now()),
    });
  }

  async #stop(uid: Id<'instance'>, graceMs: Millis, signal: AbortSignal): Promise<GuestState> {
    const folder = this.#folder(uid);
    const file = folder.read();
    const process = folder.process();
    if (!file || !process) return this.recover(uid, signal);
    folder.write({ ...file, asked: 'stopped' });
    const live = await this.#attach(folder).catch(() => undefined);
    const image = await kernelImage(
      this.#options.images,
      file.spec.imageDigest,
      this.#options.kernelPath,
    ).catch(() => undefined);
    // pebble keeps nothing that a power-off could save; others are asked by the power button.
    if (image?.kind === 'function') await live?.qmp?.execute('quit', 1000).catch(() => undefined);
    else await live?.qmp?.execute('system_powerdown', 1000).catch(() => undefined);
    if (!(await waitForEnd(process, graceMs, signal))) {
      folder.write({ ...file, asked: 'killed' });
      signalProcess(process, 'SIGKILL');
      if (!(await waitForEnd(process, 10_000, signal)))
        throw new SkerryError('host_timeout', `QEMU ${process.pid} did not end after SIGKILL`);
    }
    await this.#exitFile(folder);
    return this.recover(uid, signal);
  }

  /** The supervisor ends a moment after QEMU. */
  async #exitFile(folder: GuestFolder): Promise<void> {
    for (let i = 0; i < 100 && !folder.ended(); i++) await pause(10);
  }

  async #remove(uid: Id<'instance'>): Promise<void> {
    const folder = this.#folder(uid);
    const process = folder.process();
    this.#live.get(uid)?.release();
    this.#live.delete(uid);
    if (process) {
      signalProcess(process, 'SIGKILL');
      await waitForEnd(process, 10_000);
      await this.#exitFile(folder);
    }
    for (let i = 0; i < 100 && !removeCgroup(folder.cgroup); i++) await pause(10);
    await folder.remove();
  }
}
