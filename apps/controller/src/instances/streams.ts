/** What is asked of a guest through the agent of its node: logs, statistics, a command, its console. Nothing is stored. */
import type { Instance, LogLine, LogOptions } from '@skerry/model';
import { SkerryError } from '@skerry/model';
import type { Core } from '../core.ts';
import type { Terminal } from '../http/handlers.ts';
import { linkOf } from '../nodes/link.ts';

/** `find` is called at the first read, so that what it throws becomes the answer. */
export async function* readLogs(
  core: Core,
  find: () => Instance,
  { tail, follow, sinceMs, previous }: { [K in keyof LogOptions]?: LogOptions[K] },
  signal: AbortSignal,
): AsyncGenerator<LogLine> {
  const { link, uid } = linkOf(core, find());
  const options: LogOptions = {
    ...(tail !== undefined && { tail }),
    ...(follow !== undefined && { follow }),
    ...(sinceMs !== undefined && { sinceMs }),
    ...(previous !== undefined && { previous }),
  };
  yield* link.logs(uid, options, signal);
}

function requireRunning(instance: Instance): void {
  const { phase, reason } = instance.status;
  if (phase === 'running' || phase === 'starting') return;
  throw new SkerryError(
    'guest_not_running',
    `${instance.metadata.name} is ${phase}${reason ? `: ${reason}` : ''}`,
  );
}

export interface ExecInput {
  readonly command: readonly string[];
  readonly terminal?: boolean;
  readonly columns?: number;
  readonly rows?: number;
}

export async function openExec(
  core: Core,
  instance: Instance,
  input: ExecInput,
  signal: AbortSignal,
): Promise<Terminal> {
  requireRunning(instance);
  const { link, uid } = linkOf(core, instance);
  const { command, terminal, columns, rows } = input;
  return link.exec(
    uid,
    {
      command,
      terminal: terminal ?? false,
      ...(columns !== undefined && { columns }),
      ...(rows !== undefined && { rows }),
    },
    signal,
  );
}

export async function openConsole(core: Core, instance: Instance, signal: AbortSignal): Promise<Terminal> {
  requireRunning(instance);
  const { link, uid } = linkOf(core, instance);
  const closing = new AbortController();
  const both = AbortSignal.any([signal, closing.signal]);
  const { output, write } = await link.console(uid, both);
  let finish!: (code: number) => void;
  const exit = new Promise<number>((resolve) => {
    finish = resolve;
  });
  async function* bytes() {
    try {
      for await (const data of output) yield { stream: 'stdout' as const, data };
    } finally {
      finish(0);
    }
  }
  return {
    output: bytes(),
    write,
    exit,
    closeInput: async () => undefined,
    resize: async () => undefined,
    kill: async () => closing.abort(),
  };
}
