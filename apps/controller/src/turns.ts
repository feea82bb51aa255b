/**
 * How much is done in one turn of the event loop. What changes something waits here when there is more of it than a turn has
 * time for; a read never does, so that it waits for one short turn, however much is under way. Callers of one lane are served
 * in their order, the lanes by turns: thousands of agents that come back do not keep a user's change waiting.
 *
 * With nothing waiting, work begins at once.
 */

export type Lane = 'requests' | 'sessions' | 'upkeep';

export interface Turns {
  /** Runs `work`, now or in a later turn. Errors: those of `work`. */
  run<T>(lane: Lane, work: () => T): Promise<Awaited<T>>;
  /** The same for what answers nothing and never throws, without a promise for each. */
  do(lane: Lane, work: () => void): void;
}

/** What a turn is to take while there is more to do. A read comes after two of them at the most. */
const TURN_MS = 5;
/** Begun in one turn: what follows from it (a commit, answers) is not seen when it begins, so the number follows from experience. */
const LEAST = 4;
const MOST = 64;

export interface TurnsOptions {
  readonly nowMs?: () => number;
  /** Calls back once in the next turn. */
  readonly nextTurn?: (callback: () => void) => void;
}

export function createTurns(options: TurnsOptions = {}): Turns {
  const { nowMs = () => performance.now(), nextTurn = setImmediate } = options;
  const lanes: readonly (() => void)[][] = [[], [], []];
  const numberOf: Readonly<Record<Lane, number>> = { requests: 0, sessions: 1, upkeep: 2 };
  let waiting = 0;
  let turn = 0;
  let most = MOST / 2;
  let begun = 0;
  let isTurnMarked = false;
  /** When the turn began in which the last were begun; undefined where nothing was left waiting. */
  let sinceMs: number | undefined;

  const take = (): (() => void) => {
    for (;;) {
      const work = lanes[turn++ % lanes.length]!.shift();
      if (work) return work;
    }
  };
  const learn = (tookMs: number) => {
    most =
      tookMs > TURN_MS
        ? Math.max(LEAST, Math.floor(most * Math.max(0.5, TURN_MS / tookMs)))
        : Math.min(MOST, most + 1);
  };
  const begin = () => {
    isTurnMarked = false;
    begun = 0;
    const now = nowMs();
    // Nothing idles while something waits: from one turn to the next is what was done in between.
    if (sinceMs !== undefined) learn(now - sinceMs);
    while (waiting > 0 && begun < most) {
      waiting--;
      begun++;
      take()();
    }
    sinceMs = waiting > 0 ? now : undefined;
    if (begun > 0) mark();
  };
  const mark = () => {
    if (isTurnMarked) return;
    isTurnMarked = true;
    nextTurn(begin);
  };
  const doIt = (lane: Lane, work: () => void) => {
    mark();
    if (waiting === 0 && begun < most) {
      begun++;
      work();
      return;
    }
    lanes[numberOf[lane]]!.push(work);
    waiting++;
  };

  return {
    do: doIt,
    run: (lane, work) =>
      new Promise((resolve, reject) =>
        doIt(lane, () => {
          try {
            resolve(work() as never);
          } catch (error) {
            reject(error);
          }
        }),
      ),
  };
}
