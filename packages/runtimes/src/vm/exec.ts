/**
 * A command inside a virtual machine, by the agent in it. The agent gives the output whole at the end and takes no input
 * while the command runs: what needs either uses the console.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { SkerryError } from '@skerry/model';
import type { ExecPower, ExecRequest, ExecSession } from '../port.ts';
import { GuestAgent } from './guest-agent.ts';
import type { VmGuests } from './guests.ts';

const FIRST_LOOK_MS = 20;
const LONGEST_LOOK_MS = 500;

type Output = { readonly stream: 'stdout' | 'stderr'; readonly data: Uint8Array };

export function vmExec(guests: VmGuests): ExecPower {
  return {
    async exec(uid, request, signal) {
      if (request.terminal)
        throw new SkerryError('unsupported', 'a terminal in a virtual machine is its console: use that');
      const path = await guests.alone(uid, async ({ folder, qmp }) => {
        if (qmp) return folder.path('agent');
        throw new SkerryError('guest_not_running', 'the guest does not run');
      });
      return startCommand(await GuestAgent.connect(path), request, signal);
    },
  };
}

async function startCommand(
  agent: GuestAgent,
  { command, env }: ExecRequest,
  signal: AbortSignal,
): Promise<ExecSession> {
  const [path = '', ...arg] = command;
  const started = agent.execute('guest-exec', {
    ...{ path, arg, 'capture-output': true },
    env: Object.entries(env ?? {}).map(([key, value]) => `${key}=${value}`),
  });
  started.catch(() => agent.close());
  const { pid } = await started;
  const end = waitForIt(agent, pid, signal).finally(() => agent.close());
  end.catch(() => undefined);
  const noInput = () =>
    Promise.reject(new SkerryError('unsupported', 'the agent in the guest takes no input: use the console'));
  return {
    output: (async function* (): AsyncGenerator<Output> {
      const { output } = await end;
      yield* output;
    })(),
    write: noInput,
    closeInput: async () => undefined,
    resize: noInput,
    exit: end.then(({ code }) => code),
    kill: async () => {
      await agent.execute('guest-exec', {
        ...{ path: '/bin/kill', arg: ['-9', String(pid)], env: [], 'capture-output': false },
      });
    },
  };
}

async function waitForIt(
  agent: GuestAgent,
  pid: number,
  signal: AbortSignal,
): Promise<{ code: number; output: Output[] }> {
  let everyMs = FIRST_LOOK_MS;
  for (;;) {
    const status = await agent.execute('guest-exec-status', { pid });
    if (status.exited) {
      const piece = (stream: Output['stream'], text: string | undefined): Output[] =>
        text === undefined ? [] : [{ stream, data: Buffer.from(text, 'base64') }];
      return {
        code: status.exitcode ?? 128 + (status.signal ?? 0),
        output: [...piece('stdout', status['out-data']), ...piece('stderr', status['err-data'])],
      };
    }
    await pause(everyMs, undefined, { signal }).catch((cause) => {
      throw new SkerryError('cancelled', 'nobody waits for the command any more', { cause });
    });
    everyMs = Math.min(LONGEST_LOOK_MS, everyMs * 2);
  }
}
