/**
 * One life of a program, for tests: every call to the world outside passes through it, and it may be cut off at any of
 * them, before or after the call took effect. A program that was cut off never hears from the world again, and can do
 * nothing to it: what a kill -9 leaves of it.
 */
import type { Clock } from '@skerry/reconcile';

const never = <T>() => new Promise<T>(() => undefined);

export class Life {
  #fuse: number;
  #dead = false;
  calls = 0;

  /** `fuse`: the half-call at which it ends; each call has two halves, before and after its effect. */
  constructor(fuse = Number.POSITIVE_INFINITY) {
    this.#fuse = fuse;
  }

  get dead(): boolean {
    return this.#dead;
  }

  kill(): void {
    this.#dead = true;
  }

  /** `effect` happens at one moment; the answer comes in a later turn. */
  async call<T>(effect: () => T | Promise<T>): Promise<T> {
    if (this.#burn()) return never<T>();
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#dead) return never<T>();
    const result = await effect();
    if (this.#burn()) return never<T>();
    return result;
  }

  /** An object whose methods all pass through this life. Not for iterables. */
  wrap<T extends object>(target: T): T {
    return new Proxy(target, {
      get: (object, key) => {
        const value = Reflect.get(object, key);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => this.call(() => Reflect.apply(value, object, args));
      },
    });
  }

  clock(clock: Clock): Clock {
    return {
      nowMs: () => clock.nowMs(),
      monotonicMs: () => clock.monotonicMs(),
      after: (delayMs, run) => clock.after(delayMs, () => (this.#dead ? undefined : run())),
    };
  }

  #burn(): boolean {
    if (this.#dead) return true;
    this.calls++;
    if (--this.#fuse <= 0) this.#dead = true;
    return this.#dead;
  }
}
