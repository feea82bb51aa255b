/**
 * The sim runtime: guests that only pretend, with timings and faults by configuration (sim/behaviour.ts), for tests of the
 * agent and of scale. It starts no process and touches no host. It keeps the promises of the port like the others.
 */
import {
  type Bytes,
  type GuestExit,
  type GuestStats,
  type Id,
  type LogLine,
  type LogOptions,
  SkerryError,
} from '@skerry/model';
import { type Clock, pause, realClock } from '@skerry/reconcile';
import { EventQueue } from '../event-queue.ts';
import { planGuest } from '../plan-guest.ts';
import type { GuestSpec, GuestState, GuestStep, Runtime } from '../port.ts';
import { behaviourOf } from './behaviour.ts';
import { createSimExec } from './exec.ts';
import { endOf, lineAt, lineCount, type SimGuest, stateOf } from './guest.ts';
import { createSimMemory, type SimRecords } from './records.ts';

type Uid = Id<'instance'>;

export interface SimOptions {
  /** Where the guests are; default: in this runtime's own memory. */
  readonly records?: SimRecords;
  readonly clock?: Clock;
}

export interface SimRuntime extends Runtime {
  /** The guest is ended from outside, as by a signal that nobody here sent. */
  kill(uid: Uid): void;
}

/** Above every process id that Linux gives (PID_MAX_LIMIT, linux/threads.h), so that it is never taken for a real one. */
const FIRST_PID = 2 ** 22 + 1;
let nextPid = FIRST_PID + Math.floor(Math.random() * 2 ** 24);

export function createSimRuntime(options: SimOptions = {}): SimRuntime {
  const records = options.records ?? createSimMemory();
  const clock = options.clock ?? realClock;
  const events = new EventQueue();
  const timers = new Map<Uid, () => void>();

  const state = (uid: Uid) => stateOf(records.get(uid), clock.nowMs());
  const disarm = (uid: Uid) => {
    timers.get(uid)?.();
    timers.delete(uid);
  };
  /** Tells of the end when it comes, once, whoever looks first. */
  const arm = (uid: Uid) => {
    disarm(uid);
    const guest = records.get(uid);
    const exit = guest && endOf(guest);
    if (!exit || guest.told) return;
    const tell = () => {
      timers.delete(uid);
      const now = records.get(uid);
      if (!now || now.told || now.startedAtMs !== guest.startedAtMs) return;
      records.set(uid, { ...now, told: true });
      events.emit({ type: 'exited', uid, exit });
    };
    const delayMs = exit.atMs - clock.nowMs();
    if (delayMs <= 0) tell();
    else
      timers.set(
        uid,
        clock.after(delayMs, () => arm(uid)),
      );
  };
  const end = (uid: Uid, guest: SimGuest, exit: GuestExit) => {
    records.set(uid, { ...guest, end: exit });
    arm(uid);
  };

  async function create(spec: GuestSpec, signal: AbortSignal): Promise<GuestState> {
    const behaviour = behaviourOf(spec);
    const have = state(spec.uid);
    if (have.state !== 'absent') {
      if (have.incarnation === spec.incarnation) return have;
      throw new SkerryError('guest_start_failed', `${spec.name} is there as another incarnation`);
    }
    if (behaviour.createMs > 0) await pause(clock, behaviour.createMs, signal);
    if (behaviour.failCreate)
      throw new SkerryError('guest_start_failed', `${spec.name} fails to be made, as configured`);
    records.set(spec.uid, { spec, behaviour });
    return state(spec.uid);
  }

  async function start(uid: Uid, signal: AbortSignal): Promise<GuestState> {
    const guest = records.get(uid);
    if (!guest) throw new SkerryError('guest_start_failed', `there is no simulated guest ${uid} to start`);
    if (guest.startedAtMs !== undefined) return state(uid);
    if (guest.behaviour.startMs > 0) await pause(clock, guest.behaviour.startMs, signal);
    if (guest.behaviour.failStart)
      throw new SkerryError('guest_start_failed', `${guest.spec.name} fails to start, as configured`);
    const now = records.get(uid);
    if (!now) throw new SkerryError('guest_start_failed', `${guest.spec.name} was removed while it started`);
    if (now.startedAtMs === undefined) {
      records.set(uid, { ...now, startedAtMs: clock.nowMs(), pid: nextPid++ });
      arm(uid);
    }
    return state(uid);
  }

  async function stop(uid: Uid, graceMs: number, signal: AbortSignal): Promise<GuestState> {
    const guest = records.get(uid);
    if (!guest || state(uid).state !== 'running') return state(uid);
    const { ignoreStop, stopMs } = guest.behaviour;
    const obeys = !ignoreStop && stopMs <= graceMs;
    const waitMs = obeys ? stopMs : graceMs;
    if (waitMs > 0) await pause(clock, waitMs, signal);
    const now = records.get(uid);
    if (!now || state(uid).state !== 'running') return state(uid);
    const atMs = clock.nowMs();
    if (obeys) end(uid, now, { reason: 'stopped', code: 0, message: 'stopped when asked to', atMs });
    else {
      const message = 'was asked to stop, did not in time, and was forced';
      end(uid, now, { reason: 'killed', signal: 'SIGKILL', message, atMs });
    }
    return state(uid);
  }

  async function apply(step: GuestStep, signal: AbortSignal): Promise<GuestState> {
    if (signal.aborted) throw new SkerryError('cancelled', `cancelled before "${step.do}"`);
    if (step.do === 'create') return create(step.spec, signal);
    if (step.do === 'start') return start(step.uid, signal);
    if (step.do === 'stop') return stop(step.uid, step.graceMs, signal);
    disarm(step.uid);
    records.delete(step.uid);
    return { state: 'absent' };
  }

  async function stats(uid: Uid): Promise<GuestStats> {
    const guest = records.get(uid);
    if (!guest || state(uid).state !== 'running')
      throw new SkerryError('guest_not_running', `the simulated guest ${uid} does not run`);
    const { cpus, memoryShare } = guest.behaviour;
    return {
      cpuMs: Math.round((clock.nowMs() - guest.startedAtMs!) * cpus),
      memoryBytes: Math.round(guest.spec.memoryBytes * memoryShare),
      memoryLimitBytes: guest.spec.memoryBytes,
      pids: 1,
    };
  }

  async function* logs(uid: Uid, options: LogOptions, signal: AbortSignal): AsyncGenerator<LogLine> {
    const { tail = Number.POSITIVE_INFINITY, follow = false, sinceMs = 0 } = options;
    let guest = records.get(uid);
    if (!guest) return;
    let next = Math.max(0, lineCount(guest, clock.nowMs()) - tail);
    while (!signal.aborted && guest) {
      for (const count = lineCount(guest, clock.nowMs()); next < count; next++) {
        const line = lineAt(guest, next);
        if (line.atMs >= sinceMs) yield line;
      }
      const { startedAtMs = clock.nowMs(), behaviour } = guest;
      if (!follow || state(uid).state === 'exited') return;
      const everyMs = behaviour.logEveryMs ?? 1000;
      const dueMs = Math.max(1, startedAtMs + (next + 1) * everyMs - clock.nowMs());
      await pause(clock, Math.min(dueMs, 1000), signal).catch(() => undefined);
      guest = records.get(uid);
    }
  }

  return {
    kind: 'sim',
    start: async () => undefined,
    stop: async () => {
      for (const uid of [...timers.keys()]) disarm(uid);
    },
    destroy: async () => {
      for (const uid of [...timers.keys()]) disarm(uid);
      records.clear();
    },
    probe: async () => [
      { name: 'sim', ok: true, level: 'ok', text: 'simulated guests: they only pretend to run' },
    ],
    recover: async (uid) => {
      arm(uid);
      return state(uid);
    },
    list: async () => records.list(),
    plan: planGuest,
    apply,
    events: (signal) => events.listen(signal),
    stats,
    logs,
    exec: createSimExec((uid) => (state(uid).state === 'running' ? records.get(uid) : undefined), clock),
    overheadBytes: () => 0 as Bytes,
    kill(uid) {
      const guest = records.get(uid);
      if (!guest || state(uid).state !== 'running') return;
      const atMs = clock.nowMs();
      end(uid, guest, { reason: 'signal', signal: 'SIGKILL', message: 'was ended by SIGKILL', atMs });
    },
  };
}
