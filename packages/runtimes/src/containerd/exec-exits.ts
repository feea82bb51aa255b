/**
 * Exit codes of commands in containers, from the event stream or from the engine's answer, whichever is first. A command
 * goes on when the engine dies and comes back; it ends at the latest with its container.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Id } from '@skerry/model';
import { type EngineClient, isUnavailable } from './client.ts';

const KILLED = 128 + 9;
/** How long an event may be behind the answer that there is no such command any more. */
const EVENT_DELAY_MS = 1000;
const ASK_AGAIN_MS = 200;
const DAY_MS = 86_400_000;

export class ExecExits {
  readonly #waiting = new Map<string, (code: number) => void>();

  ended(execId: string, code: number): void {
    this.#waiting.get(execId)?.(code);
  }

  async wait(client: EngineClient, uid: Id<'instance'>, execId: string): Promise<number> {
    const over = new AbortController();
    const heard = new Promise<number>((resolve) => this.#waiting.set(execId, resolve));
    try {
      return await Promise.race([heard, this.#ask(client, uid, execId, over.signal)]);
    } finally {
      this.#waiting.delete(execId);
      over.abort();
    }
  }

  async #ask(
    client: EngineClient,
    containerId: string,
    execId: string,
    signal: AbortSignal,
  ): Promise<number> {
    while (!signal.aborted) {
      try {
        const ids = { containerId, execId };
        return (await client.call('Tasks.Wait', ids, { signal, timeoutMs: DAY_MS })).exitStatus;
      } catch (error) {
        if (signal.aborted) break;
        if (!isUnavailable(error)) {
          await delay(EVENT_DELAY_MS, undefined, { signal }).catch(() => undefined);
          break;
        }
        await delay(ASK_AGAIN_MS, undefined, { signal }).catch(() => undefined);
      }
    }
    return KILLED; // it went with its container
  }
}
