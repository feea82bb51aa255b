/**
 * The runtime of virtual machines: one QEMU for each guest, under skerry-run, none a child of ours. Any system that boots
 * from a disk or an ISO image, on a machine of today (q35, or arm64's virt) with virtio devices.
 */
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { cgroupUsage, type Identity, removeCgroup } from '@skerry/host';
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
import { EventQueue } from '../event-queue.ts';
import { logLines } from '../log-lines.ts';
import { moveLog } from '../move-log.ts';
import { planGuest } from '../plan-guest.ts';
import type {
  ConsolePower,
  DisplayPower,
  ExecPower,
  GuestEvent,
  GuestSpec,
  GuestState,
  GuestStep,
  PausePower,
  ResizePower,
  Runtime,
  SnapshotPower,
} from '../port.ts';
import { type Acceleration, probeAcceleration } from '../qemu/acceleration.ts';
import { openConsole } from '../qemu/console.ts';
import { vmExec } from './exec.ts';
import { VmGuests } from './guests.ts';
import { type Arch, askMachine } from './machine.ts';
import { vmGroupLimits, vmOverheadBytes } from './memory.ts';
import { vmDisplay, vmPause, vmResize } from './powers.ts';
import { probeVm } from './probe.ts';
import { diskOf } from './record.ts';
import { vmSnapshots } from './snapshots.ts';

type Uid = Id<'instance'>;

export interface VmLogger {
  warn(fields: object, text: string): void;
}

export interface VmRuntimeOptions {
  readonly identity: Identity;
  readonly images: ImageContent;
  /** pebble.elf: what hardware acceleration is tried with. */
  readonly kernelPath: string;
  /** skerry-run. */
  readonly supervisorPath: string;
  readonly logger: VmLogger;
  /** How often the free space is looked at for a guest that waits for it; milliseconds, default 2000. */
  readonly lookEveryMs?: number;
}

export function createVmRuntime(options: VmRuntimeOptions): Runtime {
  return new VmRuntime(options);
}

/** One that ended is created again over its own disk. Pure. */
export function planVmGuest(
  want: GuestSpec | undefined,
  have: GuestState,
  uid: Uid,
  graceMs: Millis,
): GuestStep[] {
  // also one without a root: only another incarnation takes its disk away
  if (want && have.state === 'exited' && have.incarnation === want.incarnation)
    return [
      { do: 'create', spec: want },
      { do: 'start', uid },
    ];
  return planGuest(want, have, uid, graceMs);
}

class VmRuntime implements Runtime {
  readonly kind = 'vm';
  readonly plan = planVmGuest;
  readonly #options: VmRuntimeOptions;
  readonly #guests: VmGuests;
  readonly #events = new EventQueue();
  readonly pause: PausePower;
  readonly snapshot: SnapshotPower;
  readonly display: DisplayPower;
  readonly resize: ResizePower;
  readonly exec: ExecPower;
  readonly #machines = new Map<Arch, Promise<string>>();
  #acceleration: Promise<Acceleration> | undefined;

  readonly console: ConsolePower = {
    open: async (uid, signal) => {
      const folder = this.#guests.folder(uid);
      if (!folder.process())
        throw new SkerryError('guest_not_running', 'the guest does not run: it has no console');
      return openConsole(folder.path('console'), signal);
    },
  };

  constructor(options: VmRuntimeOptions) {
    this.#options = options;
    this.#guests = new VmGuests({
      ...options,
      acceleration: (signal) => this.#accelerated(signal),
      machineFor: (arch, signal) => this.#machine(arch, signal),
      onEvent: (event) => this.#events.emit(event),
    });
    this.pause = vmPause(this.#guests);
    this.snapshot = vmSnapshots(this.#guests);
    this.display = vmDisplay(this.#guests);
    this.resize = vmResize(this.#guests);
    this.exec = vmExec(this.#guests);
  }

  async start(signal: AbortSignal): Promise<void> {
    const found = await this.#accelerated(signal);
    if (found.reason !== undefined)
      this.#options.logger.warn({ reason: found.reason }, 'virtual machines are emulated');
  }

  async stop(): Promise<void> {
    this.#guests.release();
  }

  async destroy(): Promise<void> {
    const { identity } = this.#options;
    for (const uid of this.#guests.list()) await this.#guests.remove(uid);
    for (const name of ['v', 'probe', 'acceleration.json'])
      rmSync(join(identity.runDir, name), { recursive: true, force: true });
    removeCgroup(identity.cgroup);
  }

  probe(signal: AbortSignal): Promise<ProbeFinding[]> {
    return probeVm(() => this.#accelerated(signal), signal);
  }

  async recover(uid: Uid): Promise<GuestState> {
    return this.#guests.state(uid);
  }

  async list(): Promise<Uid[]> {
    return this.#guests.list();
  }

  async apply(step: GuestStep, signal: AbortSignal): Promise<GuestState> {
    if (signal.aborted) throw new SkerryError('cancelled', `cancelled before "${step.do}"`);
    switch (step.do) {
      case 'create':
        return this.#guests.create(step.spec, signal);
      case 'start':
        return this.#guests.start(step.uid, signal);
      case 'stop':
        return this.#guests.stop(step.uid, step.graceMs, signal);
      case 'remove':
        return this.#guests.remove(step.uid);
    }
  }

  events(signal: AbortSignal): AsyncIterable<GuestEvent> {
    return this.#events.listen(signal);
  }

  async stats(uid: Uid): Promise<GuestStats> {
    const folder = this.#guests.folder(uid);
    const record = folder.read();
    if (!record || !folder.process())
      throw new SkerryError('guest_not_running', 'the guest does not run: there is nothing to measure');
    const { cpuMs = 0, memoryBytes = 0, pids } = cgroupUsage(folder.cgroup);
    return {
      ...{ cpuMs, memoryBytes },
      memoryLimitBytes: vmGroupLimits(record).memoryBytes,
      diskBytes: (statSync(diskOf(folder), { throwIfNoEntry: false })?.blocks ?? 0) * 512,
      ...(pids === undefined ? {} : { pids }),
    };
  }

  async keepLog(uid: Uid, folder: string): Promise<void> {
    moveLog(this.#guests.folder(uid).data, folder);
  }

  logs(uid: Uid, options: LogOptions, signal: AbortSignal): AsyncIterable<LogLine> {
    const folder = this.#guests.folder(uid);
    return logLines(folder.data, options, signal, () => folder.process() === undefined);
  }

  overheadBytes(memoryBytes: Bytes): Bytes {
    return vmOverheadBytes(memoryBytes);
  }

  /** Asked once for each architecture; after a failure again. */
  #machine(arch: Arch, signal: AbortSignal): Promise<string> {
    const known = this.#machines.get(arch);
    if (known) return known;
    const asking = askMachine(arch, signal);
    asking.catch(() => this.#machines.delete(arch));
    this.#machines.set(arch, asking);
    return asking;
  }

  #accelerated(signal: AbortSignal): Promise<Acceleration> {
    if (!this.#acceleration) {
      const probing = probeAcceleration(this.#options, signal);
      probing.catch(() => {
        this.#acceleration = undefined; // asked again
      });
      this.#acceleration = probing;
    }
    return this.#acceleration;
  }
}
