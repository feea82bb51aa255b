/**
 * How long agents have been away, by a clock that nobody sets. In memory only: after a restart of the controller the time
 * counts anew, for nobody knows what happened meanwhile.
 */
import type { Node } from '@skerry/model';
import type { Clock } from '../clock.ts';

export interface Absences {
  /** The agent said nothing for so long, and is taken for gone now: its absence began then. */
  silent(node: string, forMs: number): void;
  /** How long it has been away; 0 where it is there. */
  forMs(node: string): number;
  /** The agent is not there; counts from the first call since it was. */
  began(node: string): void;
  ended(node: string): void;
  /** Of a node that is lost; infinite where it is no node (`stored` is undefined), undefined where it is not lost. */
  awayMs(stored: Node | undefined, name: string): number | undefined;
}

export function createAbsences(clock: Pick<Clock, 'monotonicMs'>): Absences {
  const since = new Map<string, number>();
  return {
    began(node) {
      if (!since.has(node)) since.set(node, clock.monotonicMs());
    },
    silent: (node, forMs) => void since.set(node, clock.monotonicMs() - forMs),
    forMs: (node) => clock.monotonicMs() - (since.get(node) ?? clock.monotonicMs()),
    ended: (node) => void since.delete(node),
    awayMs(stored, name) {
      if (!stored) return Number.POSITIVE_INFINITY;
      if (stored.status.phase !== 'lost') return undefined;
      const beganMs = since.get(name);
      return beganMs === undefined ? 0 : clock.monotonicMs() - beganMs;
    },
  };
}
