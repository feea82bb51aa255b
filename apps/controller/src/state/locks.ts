/** One at a time for each key, in the order of asking. Several keys are taken in one sorted order, so no two callers wait for each other. */
export interface Locks {
  run<T>(keys: readonly string[], work: () => Promise<T>): Promise<T>;
  /** Resolves when nothing runs. */
  idle(): Promise<void>;
}

export function createLocks(): Locks {
  const tails = new Map<string, Promise<void>>();
  let running = 0;
  let atRest: (() => void)[] = [];

  const take = async (key: string): Promise<() => void> => {
    const before = tails.get(key);
    let release!: () => void;
    const mine = new Promise<void>((resolve) => {
      release = resolve;
    });
    tails.set(key, mine);
    if (before) await before;
    return () => {
      if (tails.get(key) === mine) tails.delete(key);
      release();
    };
  };

  return {
    async run(keys, work) {
      const releases: (() => void)[] = [];
      running++;
      try {
        for (const key of [...new Set(keys)].sort()) releases.push(await take(key));
        return await work();
      } finally {
        for (const release of releases) release();
        running--;
        if (running === 0) {
          const waiting = atRest;
          atRest = [];
          for (const resolve of waiting) resolve();
        }
      }
    },
    async idle() {
      while (running > 0) await new Promise<void>((resolve) => atRest.push(resolve));
    },
  };
}
