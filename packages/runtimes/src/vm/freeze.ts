/**
 * The file systems of a guest, held still by the agent inside while its disk is kept (fsfreeze). A file in the run folder
 * says that they may be, from before they are asked to until the agent said that they go on: who finds it lets them go on,
 * and tries again for as long as the guest runs.
 */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { asSkerryError } from '@skerry/model';
import type { AgentLine } from './agent-line.ts';
import type { GuestAgent } from './guest-agent.ts';
import type { VmFolder } from './record.ts';

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5000;

const markOf = (folder: VmFolder) => join(folder.run, 'frozen');

/** Whether at least one holds still now. Without an agent, or with one that can't: false. */
export async function freeze(folder: VmFolder, line: AgentLine): Promise<boolean> {
  writeFileSync(markOf(folder), '', { mode: 0o600 });
  try {
    return (await line.use((agent) => agent.execute('guest-fsfreeze-freeze'))) > 0;
  } catch {
    return false; // it may have begun: they are let go on in any case
  }
}

/** After a guest's memory was put back: it may be of a moment at which they held still. */
export const mayBeFrozen = (folder: VmFolder): void => writeFileSync(markOf(folder), '', { mode: 0o600 });

async function thaw(agent: GuestAgent): Promise<void> {
  try {
    await agent.execute('guest-fsfreeze-thaw');
  } catch (error) {
    // one that can't let go on and holds nothing still either is done with
    const isRefused = asSkerryError(error).code === 'exec_failed';
    if (!isRefused || (await agent.execute('guest-fsfreeze-status')) === 'frozen') throw error;
  }
}

export class Thaw {
  readonly #folder: VmFolder;
  readonly #line: AgentLine;
  #timer: NodeJS.Timeout | undefined;
  #pauseMs = FIRST_PAUSE_MS;
  #released = false;

  constructor(folder: VmFolder, line: AgentLine) {
    this.#folder = folder;
    this.#line = line;
  }

  /** Tries once now, and then again and again by itself where that did not do. Whether they go on. */
  async now(): Promise<boolean> {
    clearTimeout(this.#timer);
    if (this.#released || !existsSync(markOf(this.#folder))) return true;
    try {
      await this.#line.use(thaw);
      rmSync(markOf(this.#folder), { force: true });
      this.#pauseMs = FIRST_PAUSE_MS;
      return true;
    } catch {
      if (this.#released) return false;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => void this.now(), this.#pauseMs).unref();
      this.#pauseMs = Math.min(LONGEST_PAUSE_MS, this.#pauseMs * 2);
      return false;
    }
  }

  release(): void {
    this.#released = true;
    clearTimeout(this.#timer);
  }
}
