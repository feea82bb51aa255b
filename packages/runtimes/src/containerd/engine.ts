/**
 * The life of the private containerd: started as a daemon of its own session, found again by its process reference,
 * started anew when it dies (containers go on in their shims meanwhile), ended only by `destroy`.
 *
 *   absent --start--> starting --answers--> serving --dies--> starting (backoff)
 *                                              ^--attach-- (somebody else started it)
 */
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  endProcess,
  type Identity,
  isAlive,
  type ProcessRef,
  processesWithArgument,
  startDaemon,
  writeFileDurably,
} from '@skerry/host';
import { SkerryError } from '@skerry/model';
import { EngineClient } from './client.ts';
import { type EnginePaths, engineConfig, enginePaths } from './engine-config.ts';
import type { Logger } from './logger.ts';

const ANSWER_LIMIT_MS = 20_000;
const LOG_LIMIT_BYTES = 4 * 1024 * 1024;
const BACKOFF_MS = [100, 500, 1000, 2000, 5000];

export class Engine {
  readonly client: EngineClient;
  readonly socket: string;
  readonly paths: EnginePaths;
  /** Whether it is ours to start and end; the system's is not. */
  readonly isPrivate: boolean;
  readonly #logger: Logger;
  #process: ProcessRef | undefined;
  #ensuring: Promise<boolean> | undefined;

  constructor(identity: Identity, logger: Logger, address?: string) {
    this.paths = enginePaths(identity);
    this.isPrivate = address === undefined;
    this.socket = address ?? this.paths.socket;
    this.client = new EngineClient(this.socket, identity.engineNamespace);
    this.#logger = logger;
  }

  /** Process of the private engine; undefined before `ensure` and for the system's. */
  get process(): ProcessRef | undefined {
    return this.#process;
  }

  /** Makes it run and answer. Returns whether it was started by this call. Callers at once share one start. */
  ensure(signal: AbortSignal): Promise<boolean> {
    this.#ensuring ??= this.#ensure(signal).finally(() => {
      this.#ensuring = undefined;
    });
    return this.#ensuring;
  }

  /** Like `ensure`, and patient: starts it again and again, ever more slowly, until it answers or is cancelled. */
  async ensurePatiently(signal: AbortSignal): Promise<boolean> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.ensure(signal);
      } catch (error) {
        if (signal.aborted) throw error;
        this.#logger.warn({ err: error }, 'containerd does not start; trying again');
        await delay(BACKOFF_MS[Math.min(attempt, BACKOFF_MS.length - 1)], undefined, { signal });
      }
    }
  }

  /** Cheap while it runs: looks at the process, and only when that is gone waits for the next one. */
  async ensureAnswering(signal: AbortSignal): Promise<void> {
    if (this.isPrivate && this.#process && isAlive(this.#process) && !this.#ensuring) return;
    await this.ensure(signal);
  }

  async answers(timeoutMs: number, signal?: AbortSignal): Promise<string | undefined> {
    try {
      const { version } = await this.client.call(
        'Version.Version',
        {},
        { timeoutMs, ...(signal ? { signal } : {}) },
      );
      return version;
    } catch {
      return undefined;
    }
  }

  async #ensure(signal: AbortSignal): Promise<boolean> {
    if (!this.isPrivate) {
      await this.#waitForAnswer(signal, () => true);
      return false;
    }
    const running = this.#process ?? this.#recorded() ?? this.#unrecorded();
    if (running && isAlive(running)) {
      this.#process = running;
      if (await this.#answersWithin(ANSWER_LIMIT_MS, signal, () => isAlive(running))) return false;
      if (isAlive(running)) {
        this.#logger.warn({ pid: running.pid }, 'containerd runs but does not answer: it is ended');
        await endProcess(running, 0);
      }
    }
    await this.#launch(signal);
    return true;
  }

  async #launch(signal: AbortSignal): Promise<void> {
    const { paths } = this;
    for (const folder of [paths.root, paths.folder, dirname(paths.log)])
      mkdirSync(folder, { recursive: true, mode: 0o711 });
    rmSync(paths.socket, { force: true });
    rmSync(`${paths.socket}.ttrpc`, { force: true });
    if ((statSync(paths.log, { throwIfNoEntry: false })?.size ?? 0) > LOG_LIMIT_BYTES)
      renameSync(paths.log, `${paths.log}.1`);
    writeFileSync(paths.config, engineConfig(paths), { mode: 0o600 });
    const started = await startDaemon({
      file: 'containerd',
      args: ['--config', paths.config],
      logFile: paths.log,
    });
    this.#process = started;
    writeFileDurably(paths.record, JSON.stringify(started));
    await this.#waitForAnswer(signal, () => isAlive(started));
  }

  async #waitForAnswer(signal: AbortSignal, alive: () => boolean): Promise<void> {
    if (await this.#answersWithin(ANSWER_LIMIT_MS, signal, alive)) return;
    throw new SkerryError(
      'engine_unavailable',
      this.isPrivate
        ? `containerd did not start: ${this.#lastWords()}`
        : `containerd does not answer on ${this.socket}`,
    );
  }

  async #answersWithin(limitMs: number, signal: AbortSignal, alive: () => boolean): Promise<boolean> {
    const until = performance.now() + limitMs;
    while (performance.now() < until && alive()) {
      if ((await this.answers(1000, signal)) !== undefined) return true;
      await delay(15, undefined, { signal });
    }
    return false;
  }

  #lastWords(): string {
    try {
      return readFileSync(this.paths.log, 'utf8').trim().split('\n').slice(-2).join(' | ').slice(-500);
    } catch {
      return 'it left no log';
    }
  }

  #recorded(): ProcessRef | undefined {
    try {
      const ref = JSON.parse(readFileSync(this.paths.record, 'utf8')) as ProcessRef;
      return isAlive(ref) ? ref : undefined;
    } catch {
      return undefined;
    }
  }

  /** One that runs although nobody wrote it down: we were ended between its start and the writing. */
  #unrecorded(): ProcessRef | undefined {
    const [ref] = processesWithArgument(this.paths.config);
    if (ref) writeFileDurably(this.paths.record, JSON.stringify(ref));
    return ref;
  }

  /** Ends the private engine's process. What it kept stays. */
  async end(): Promise<void> {
    const ref = this.isPrivate ? (this.#process ?? this.#recorded()) : undefined;
    if (ref) await endProcess(ref, 5000);
    this.#process = undefined;
    rmSync(this.paths.record, { force: true });
  }

  close(): void {
    this.client.close();
  }
}
