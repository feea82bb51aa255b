/** From what the engine says of a container to a guest's state, and to the reason of its end. */
import { setTimeout as pause } from 'node:timers/promises';
import type { GuestExit, Id } from '@skerry/model';
import { judgeExit, vanished } from '../containerd/exit-judge.ts';
import type { GuestState } from '../port.ts';
import type { EngineApi, Inspected } from './engine-api.ts';
import type { EngineFacts } from './engine-facts.ts';
import { INCARNATION } from './names.ts';
import type { Records } from './record.ts';

type Uid = Id<'instance'>;

/** 1 January of the year 1: what has not come yet. */
const NEVER = /^0001-/;
/** What a Docker engine writes down for a container that was gone when it was started itself; but programs end with it, too. */
const UNKNOWN_CODE = 255;

/** Of what the kernel's killer leaves: 128 and SIGKILL. */
const KILLED_CODE = 137;
/** A Docker engine hears of the killer and of the end by two ways; the word of the killer may come after that of the end. */
const KILLER_LIMIT_MS = 500;
const LOOK_EVERY_MS = 20;

const NOT_STARTED = new Set(['created', 'configured', 'initialized']);
const RUNNING = new Set(['running', 'paused', 'restarting', 'stopping']);

export const isRunning = ({ State }: Inspected): boolean => RUNNING.has(State.Status);

export class Judge {
  readonly #api: EngineApi;
  readonly #records: Records;
  readonly #facts: () => EngineFacts;

  constructor(api: EngineApi, records: Records, facts: () => EngineFacts) {
    this.#facts = facts;
    this.#api = api;
    this.#records = records;
  }

  async state(uid: Uid, found: Inspected | undefined): Promise<GuestState> {
    if (!found) return { state: 'absent' };
    const incarnation = found.Config.Labels?.[INCARNATION] ?? '';
    if (NOT_STARTED.has(found.State.Status)) return { state: 'created', incarnation };
    if (isRunning(found)) {
      const startedAtMs = this.#records.read(uid)?.startedAtMs ?? Date.parse(found.State.StartedAt);
      return { state: 'running', incarnation, pid: found.State.Pid, startedAtMs };
    }
    return { state: 'exited', incarnation, exit: await this.exit(uid, found) };
  }

  /** How it ended, judged once and kept. */
  async exit(uid: Uid, found: Inspected): Promise<GuestExit> {
    const { State } = found;
    const known = this.#records.read(uid)?.exit;
    if (known) return known;
    const atMs = NEVER.test(State.FinishedAt) ? Date.now() : Date.parse(State.FinishedAt);
    const seen = State.ExitCode !== UNKNOWN_CODE || State.OOMKilled || (await this.#wasSeen(found, atMs));
    const outOfMemory = await this.#ranOutOfMemory(uid, found);
    const record = this.#records.read(uid); // after the waits: a stop may have been asked for meanwhile
    if (record?.exit) return record.exit;
    const exit =
      seen || record?.stop
        ? judgeExit({
            ...{ code: State.ExitCode, atMs, outOfMemory },
            memoryLimitBytes: record?.spec.memoryBytes ?? 0,
            stop: record?.stop,
          })
        : vanished(atMs);
    this.#records.change(uid, { exit });
    return exit;
  }

  async #ranOutOfMemory(uid: Uid, { Id, State }: Inspected): Promise<boolean> {
    const isSure = State.OOMKilled || State.ExitCode !== KILLED_CODE || this.#records.read(uid)?.stop;
    if (isSure || this.#facts().flavour === 'podman') return State.OOMKilled;
    const until = performance.now() + KILLER_LIMIT_MS;
    while (performance.now() < until) {
      await pause(LOOK_EVERY_MS);
      const now = await this.#api.call<Inspected>('GET', `/containers/${Id}/json`).catch(() => undefined);
      if (!now) break; // it is gone, or the engine is: what was seen counts
      if (now.State.OOMKilled) return true;
    }
    return false;
  }

  /** Whether the engine that runs now saw the end itself: then it is among its events. */
  async #wasSeen({ Id }: Inspected, atMs: number): Promise<boolean> {
    if (this.#facts().flavour === 'podman') return true; // a monitor beside each container saw it
    // The clock was set back since: the engine refuses such a question, or would answer it only when that time comes again.
    if (atMs > Date.now()) return false;
    const filters = JSON.stringify({ type: ['container'], event: ['die'], container: [Id] });
    const query = { filters, since: Math.floor(atMs / 1000) - 1, until: (Date.now() / 1000).toFixed(3) };
    return (await this.#api.text('GET', '/events', { query })) !== '';
  }
}
