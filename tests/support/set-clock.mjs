// Loaded before the program (`node --import`): its wall clock is off by as many milliseconds as the file beside its data folder
// says, and follows when that changes, as when somebody sets the machine's time. Monotonic time and timers go on, as there.
import { readFileSync } from 'node:fs';

const LOOK_EVERY_MS = 5;
const file = `${process.argv[process.argv.indexOf('--data') + 1]}.clock`;
const Real = Date;
const realNow = Date.now;
let offMs = 0;
let lookedMs = Number.NEGATIVE_INFINITY;

function now() {
  const ms = performance.now();
  if (ms - lookedMs >= LOOK_EVERY_MS) {
    lookedMs = ms;
    try {
      offMs = Number(readFileSync(file, 'utf8'));
    } catch {
      // nobody has set it yet
    }
  }
  return realNow() + offMs;
}

globalThis.Date = new Proxy(Real, {
  construct: (target, args, newTarget) =>
    Reflect.construct(target, args.length > 0 ? args : [now()], newTarget),
  apply: () => new Real(now()).toString(),
  get: (target, key) => (key === 'now' ? now : Reflect.get(target, key)),
});
