/** Time as the controller sees it, so that a test can move it. */
export interface Clock {
  nowMs(): number;
  /** From an arbitrary point; never goes back, whatever the machine's time is set to. */
  monotonicMs(): number;
  /** Calls back once after `ms`; the returned function takes it back. Never keeps the process alive. */
  after(ms: number, callback: () => void): () => void;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** RFC 3339 with milliseconds. */
export const timestamp = (clock: Clock): string => new Date(clock.nowMs()).toISOString();
