/** An engine that a test started for itself. */
import type { ChildProcess } from 'node:child_process';
import { eventually } from '@skerry/testkit';
import { EngineApi } from '../engine-api.ts';

export interface PrivateEngine {
  readonly socketPath: string;
  /** Ends the engine by SIGKILL, or as asked; whether its containers go on is the engine's business. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  start(): Promise<void>;
  /** Ends everything of it and removes its folder. */
  end(): Promise<void>;
}

const START_LIMIT_MS = 60_000;
const FORCE_AFTER_MS = 15_000;

export async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), FORCE_AFTER_MS);
  await gone;
  clearTimeout(timer);
}

/** `words`: what the engine printed so far, for the message where it does not answer. */
export async function engineAnswers(socketPath: string, words: () => string): Promise<void> {
  const api = new EngineApi(socketPath);
  try {
    const limit = performance.now() + START_LIMIT_MS - 1000;
    await eventually(
      'the engine answers',
      () =>
        api.call('GET', '/version').then(
          () => true,
          (error) => {
            if (performance.now() > limit) throw new Error(words().slice(-800), { cause: error });
            return false;
          },
        ),
      { withinMs: START_LIMIT_MS },
    );
  } finally {
    await api.close();
  }
}
