/**
 * What a guest wrote in the run before this one: `<dataDir>/previous-logs/<uid>/`, in the form of log-lines.ts. One run is kept,
 * within the bounds of one log, until the guest is deleted: of one that crashes again and again its last words are there.
 *
 *   keep: <uid>.new is filled (moved, or copied from an engine), then it takes the place of <uid>; a crash in between is made good
 *   by the next `keep` of the same run, and a run that was kept is never kept again
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Id, LogLine, LogOptions } from '@skerry/model';
import { logLines } from './log-lines.ts';
import type { Runtime } from './port.ts';

type Uid = Id<'instance'>;

/** Which run a log is of. */
const RUN = 'run';

export class PreviousLogs {
  readonly #root: string;

  constructor(dataDir: string) {
    this.#root = join(dataDir, 'previous-logs');
  }

  /** The guest has ended, and is about to be started again. `run`: differs from that of each other run of it. Idempotent. */
  async keep(runtime: Runtime, uid: Uid, run: string, signal: AbortSignal): Promise<void> {
    const kept = join(this.#root, uid);
    if (!runtime.keepLog || runOf(kept) === run) return;
    const fresh = `${kept}.new`;
    if (runOf(fresh) !== run) {
      rmSync(fresh, { recursive: true, force: true });
      mkdirSync(fresh, { recursive: true, mode: 0o700 });
      writeFileSync(join(fresh, RUN), run, { mode: 0o600 });
    }
    await runtime.keepLog(uid, fresh, signal);
    rmSync(kept, { recursive: true, force: true });
    renameSync(fresh, kept);
  }

  /** Nothing where there was no run before. It ends by itself: no more comes. */
  read(uid: Uid, options: LogOptions, signal: AbortSignal): AsyncIterable<LogLine> {
    return logLines(join(this.#root, uid), { ...options, follow: false }, signal, () => true);
  }

  remove(uid: Uid): void {
    for (const folder of [uid, `${uid}.new`])
      rmSync(join(this.#root, folder), { recursive: true, force: true });
  }

  /** What is of no guest that is known goes. */
  retain(isKnown: (uid: Uid) => boolean): void {
    if (!existsSync(this.#root)) return;
    for (const name of readdirSync(this.#root)) {
      const uid = name.replace(/\.new$/, '') as Uid;
      if (!isKnown(uid)) this.remove(uid);
    }
  }
}

/** Undefined where nothing is kept. */
function runOf(folder: string): string | undefined {
  try {
    return readFileSync(join(folder, RUN), 'utf8');
  } catch {
    return undefined;
  }
}
