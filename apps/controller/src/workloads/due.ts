/** Keys that are to be looked at, each once; those of workloads with a priority come first, or others would take their room. */
import type { Workload } from '@skerry/model';
import type { View } from '../state/view.ts';

export interface Due {
  add(key: string): void;
  /** Undefined when nothing is due. */
  take(): string | undefined;
}

export function createDue(view: View): Due {
  const urgent = new Set<string>();
  const others = new Set<string>();
  return {
    add(key) {
      const { spec } = (view.byKey(key) ?? {}) as Partial<Workload>;
      if ((spec?.priority ?? 0) <= 0) others.add(key);
      else urgent.add(key);
    },
    take() {
      for (const keys of [urgent, others]) {
        const [next] = keys;
        if (next === undefined) continue;
        keys.delete(next);
        return next;
      }
      return undefined;
    },
  };
}
