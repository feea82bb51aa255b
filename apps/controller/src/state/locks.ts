/** One at a time for each key, in the order of asking. Several keys are taken in one sorted order, so no two callers wait for each other. */
export interface Locks {
  run<T>(keys: readonly string[], work: () => Promise<T>): Promise<T>;
}

export function createLocks(): Locks {
  const tails = new Map<string, Promise<void>>();

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
      try {
        for (const key of [...new Set(keys)].sort()) releases.push(await take(key));
        return await work();
      } finally {
        for (const release of releases) release();
      }
    },
  };
}
