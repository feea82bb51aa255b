/**
 * Entering control groups without waiting. The first process that enters a group on a machine at rest waits for a grace
 * period of RCU, 7 to 13 ms measured (kernel/cgroup/cgroup.c, cgroup_attach_lock; kernel/rcu/sync.c), those right after it do
 * not; an engine that enters a dozen groups one after another waits several times. So while guests are being started this
 * process enters the group that it is in, again and again: that changes nothing, and the wait lies beside other work. A
 * machine whose control groups are mounted with `favordynmods` never waits; there this does no harm.
 */
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cgroupFolder, cgroupMode } from './cgroup.ts';

/** Shorter than a grace period: the next entry comes before the kernel falls back. */
const EVERY_MS = 4;

/** Of this process; undefined where it can not be told. */
function ownGroup(): string | undefined {
  const controller = cgroupMode() === 'v2' ? '' : 'pids';
  try {
    // cgroups(7): hierarchy:controllers:path
    for (const line of readFileSync('/proc/self/cgroup', 'utf8').split('\n')) {
      const [, controllers = '', ...path] = line.split(':');
      if (path.length > 0 && controllers.split(',').includes(controller))
        return join(cgroupFolder(path.join(':'), controller), 'cgroup.procs');
    }
  } catch {
    // no /proc: nothing to be gained
  }
  return undefined;
}

export class CgroupEntry {
  #holders = 0;
  #running = false;
  #group: string | undefined;

  /** From now on groups are entered at once, until the returned function is called; it may be called again. */
  readonly hold = (): (() => void) => {
    this.#holders++;
    if (!this.#running) void this.#run();
    let held = true;
    return () => {
      if (held) this.#holders--;
      held = false;
    };
  };

  async #run(): Promise<void> {
    this.#running = true;
    this.#group ??= ownGroup();
    const group = this.#group;
    // Not our business to fail a start: without it, that only takes longer.
    while (group !== undefined && this.#holders > 0) {
      const entered = await writeFile(group, String(process.pid)).then(
        () => true,
        () => false,
      );
      if (!entered) break;
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS).unref());
    }
    this.#running = false;
  }
}
