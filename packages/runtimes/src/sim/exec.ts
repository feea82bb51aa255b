/**
 * What a command prints and how it ends in a simulated guest: canned, since there is no guest that could run it.
 * It takes its time to the end, whatever becomes of the guest meanwhile.
 */
import { type Id, SkerryError } from '@skerry/model';
import { type Clock, pause } from '@skerry/reconcile';
import type { ExecPower, ExecSession } from '../port.ts';
import type { SimGuest } from './guest.ts';

/** Code of a shell for a command that a signal ended: 128 and SIGKILL's number (bash(1), "Exit status"). */
const KILLED = 137;

/** `running` gives the guest while it runs. Errors of `exec`: guest_not_running. */
export function createSimExec(
  running: (uid: Id<'instance'>) => SimGuest | undefined,
  clock: Clock,
): ExecPower {
  return {
    async exec(uid, { command }, signal) {
      const guest = running(uid);
      if (!guest) throw new SkerryError('guest_not_running', `the simulated guest ${uid} does not run`);
      const { execMs, execExitCode, execOutput } = guest.behaviour;
      const ending = new AbortController();
      const wait = execMs > 0 ? pause(clock, execMs, AbortSignal.any([ending.signal, signal])) : undefined;
      const exit = (wait ?? Promise.resolve()).then(
        () => execExitCode,
        () => KILLED,
      );
      const session: ExecSession = {
        output: (async function* () {
          yield { stream: 'stdout' as const, data: Buffer.from(`${execOutput ?? command.join(' ')}\n`) };
          await exit;
        })(),
        write: async () => undefined,
        closeInput: async () => undefined,
        resize: async () => undefined,
        exit,
        kill: async () => ending.abort(),
      };
      return session;
    },
  };
}
