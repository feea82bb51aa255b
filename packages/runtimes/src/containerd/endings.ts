/**
 * The end of containers: heard from events, found by looking, or waited for, and taken note of exactly once. Writing it
 * down comes first; then whoever waits is told, then the task is deleted, for its shim costs memory until it is.
 */
import { cgroupOomKills } from '@skerry/host';
import type { GuestExit, Id } from '@skerry/model';
import { toMillis } from './api.ts';
import { type EngineClient, isTaskGone } from './client.ts';
import { judgeExit, vanished } from './exit-judge.ts';
import type { GuestFolders, GuestRecord } from './guest-files.ts';

/** A memory kill this long before the end is taken as its reason although the end has another code. */
const OOM_REASON_MS = 2000;
const SIGKILLED = 128 + 9;

type Uid = Id<'instance'>;

export interface EndingsOptions {
  readonly client: EngineClient;
  readonly folders: GuestFolders;
  readonly cgroup: (uid: Uid) => string;
  /** Called once for each end. */
  readonly onExit: (uid: Uid, exit: GuestExit) => void;
}

export class Endings {
  readonly #options: EndingsOptions;
  readonly #oomAtMs = new Map<string, number>();
  readonly #releasing = new Map<string, Promise<void>>();
  readonly #removing = new Set<string>();
  readonly #waiting = new Map<string, Set<() => void>>();

  constructor(options: EndingsOptions) {
    this.#options = options;
  }

  outOfMemory(uid: Uid, atMs: number): void {
    if (this.#options.folders.has(uid)) this.#oomAtMs.set(uid, atMs);
  }

  /** News of an end. That of a former container of the same guest may come late: its process is another. */
  heard(uid: Uid, pid: number, code: number, atMs: number): void {
    if (this.#options.folders.read(uid)?.pid === pid) this.ended(uid, code, atMs);
  }

  /** It ended, with this code. Nothing waits in here, so nobody comes between. */
  ended(uid: Uid, code: number, atMs: number): GuestExit | undefined {
    const { folders, cgroup } = this.#options;
    const record = folders.read(uid);
    if (!record || record.exit) return record?.exit;
    const oomAtMs = this.#oomAtMs.get(uid);
    const oomJustBefore = oomAtMs !== undefined && Math.abs(atMs - oomAtMs) < OOM_REASON_MS;
    const exit = judgeExit({
      code,
      atMs,
      outOfMemory: oomJustBefore || (code === SIGKILLED && cgroupOomKills(cgroup(uid)) > 0),
      memoryLimitBytes: record.spec.memoryBytes,
      stop: record.stop,
    });
    this.#finish(uid, record, exit);
    return exit;
  }

  /** It has no task although nobody saw it end. */
  vanished(uid: Uid): GuestExit {
    const record = this.#options.folders.read(uid);
    const exit = record?.exit ?? vanished(Date.now());
    if (record && !record.exit) this.#finish(uid, record, exit);
    return exit;
  }

  #finish(uid: Uid, record: GuestRecord, exit: GuestExit): void {
    this.#options.folders.write(uid, { ...record, exit });
    this.#oomAtMs.delete(uid);
    for (const tell of this.#waiting.get(uid) ?? []) tell();
    if (this.#removing.has(uid)) return; // whoever removes it deletes its task and wants no news of it
    this.#release(uid);
    this.#options.onExit(uid, exit);
  }

  #release(uid: Uid): void {
    const release = this.#options.client
      .call('Tasks.Delete', { containerId: uid })
      .catch(() => undefined) // `remove` deletes it again
      .then(() => {
        this.#releasing.delete(uid);
      });
    this.#releasing.set(uid, release);
  }

  /** After a break: those that ended, and whose task nobody deleted since. */
  releaseEnded(): void {
    const { folders } = this.#options;
    for (const uid of folders.list()) {
      if (folders.read(uid)?.exit && !this.#releasing.has(uid)) this.#release(uid);
    }
  }

  /** Whether all that it wrote is in its log: its log program ends with its task. */
  hasLastWords(uid: Uid): boolean {
    const record = this.#options.folders.read(uid);
    return record === undefined || (record.exit !== undefined && !this.#releasing.has(uid));
  }

  async released(uid: Uid): Promise<void> {
    await this.#releasing.get(uid);
  }

  /** While `work` goes on, an end of this guest is no news and its task is not ours to delete. */
  async whileRemoving<T>(uid: Uid, work: () => Promise<T>): Promise<T> {
    this.#removing.add(uid);
    try {
      await this.released(uid);
      return await work();
    } finally {
      this.#removing.delete(uid);
      this.#oomAtMs.delete(uid);
    }
  }

  /**
   * Its end, or undefined when it still runs after `limitMs`. Heard from our own events or from the engine's answer,
   * whichever is first; `look` finds it where the shim went before it could answer.
   */
  async wait(
    uid: Uid,
    limitMs: number,
    look: () => Promise<GuestExit | undefined>,
    signal: AbortSignal,
  ): Promise<GuestExit | undefined> {
    const { client, folders } = this.#options;
    const over = new AbortController();
    const timer = setTimeout(() => over.abort(), Math.max(1, limitMs));
    const tellers = this.#waiting.get(uid) ?? new Set();
    this.#waiting.set(uid, tellers);
    let tell = () => {};
    const heard = new Promise<void>((resolve) => {
      tell = resolve;
      tellers.add(tell);
    });
    const asked = client
      .call(
        'Tasks.Wait',
        { containerId: uid },
        { signal: AbortSignal.any([signal, over.signal]), timeoutMs: limitMs + 60_000 },
      )
      .then(({ exitStatus, exitedAt }) => void this.ended(uid, exitStatus, toMillis(exitedAt)));
    try {
      await Promise.race([heard, asked]);
    } catch (error) {
      if (signal.aborted) throw error;
      const exit = await look();
      if (exit || over.signal.aborted) return exit;
      if (!isTaskGone(error)) throw error;
    } finally {
      clearTimeout(timer);
      asked.catch(() => undefined);
      over.abort();
      tellers.delete(tell);
      if (tellers.size === 0) this.#waiting.delete(uid);
    }
    return folders.read(uid)?.exit;
  }
}
