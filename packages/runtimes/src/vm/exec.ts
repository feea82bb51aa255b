/**
 * A command inside a virtual machine, by the agent in it. The agent gives the output whole at the end and takes no input
 * while the command runs: what needs either uses the console.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { SkerryError } from '@skerry/model';
import type { ExecPower, ExecRequest, ExecSession } from '../port.ts';
import type { AgentAnswer } from './agent-commands.ts';
import type { AgentLine } from './agent-line.ts';
import type { VmGuests } from './guests.ts';

const FIRST_LOOK_MS = 20;
const LONGEST_LOOK_MS = 500;

type Output = { readonly stream: 'stdout' | 'stderr'; readonly data: Uint8Array };

export function vmExec(guests: VmGuests): ExecPower {
  return {
    async exec(uid, request, signal) {
      if (request.terminal)
        throw new SkerryError('unsupported', 'a terminal in a virtual machine is its console: use that');
      await guests.alone(uid, async ({ qmp }) => {
        if (!qmp) throw new SkerryError('guest_not_running', 'the guest does not run');
      });
      return startCommand(guests.agent(uid), request, signal);
    },
  };
}

async function startCommand(
  line: AgentLine,
  { command, env }: ExecRequest,
  signal: AbortSignal,
): Promise<ExecSession> {
  const [path = '', ...arg] = command;
  await line.free();
  let started!: (pid: number) => void;
  const pid = new Promise<number>((resolve) => {
    started = resolve;
  });
  // one use from the start to the end: the connection stays, and with it what the agent knows of the command
  const end = line.use(async (agent) => {
    const words = Object.entries(env ?? {}).map(([key, value]) => `${key}=${value}`);
    const answer = await agent.execute('guest-exec', { path, arg, env: words, 'capture-output': true });
    started(answer.pid);
    return outcome(await waitForIt(line, answer.pid, signal));
  });
  end.catch(() => undefined); // who waits for it hears of it
  await Promise.race([pid, end]);
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
      const kill = { path: '/bin/kill', arg: ['-9', String(await pid)], env: [], 'capture-output': false };
      await line.use((agent) => agent.execute('guest-exec', kill));
    },
  };
}

type Status = AgentAnswer<'guest-exec-status'>;

async function waitForIt(line: AgentLine, pid: number, signal: AbortSignal): Promise<Status> {
  let everyMs = FIRST_LOOK_MS;
  for (;;) {
    await line.free();
    const status = await line.use((agent) => agent.execute('guest-exec-status', { pid }));
    if (status.exited) return status;
    await pause(everyMs, undefined, { signal }).catch((cause) => {
      throw new SkerryError('cancelled', 'nobody waits for the command any more', { cause });
    });
    everyMs = Math.min(LONGEST_LOOK_MS, everyMs * 2);
  }
}

function outcome(status: Status): { code: number; output: Output[] } {
  const piece = (stream: Output['stream'], text: string | undefined): Output[] =>
    text === undefined ? [] : [{ stream, data: Buffer.from(text, 'base64') }];
  return {
    code: status.exitcode ?? 128 + (status.signal ?? 0),
    output: [...piece('stdout', status['out-data']), ...piece('stderr', status['err-data'])],
  };
}
