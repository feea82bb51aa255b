/** A command in a running system container, by lxc-attach(1): inside its namespaces, limits and rights. It ends with us. */
import { type InteractiveProgram, startInteractive } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import type { ExecRequest, ExecSession } from '../port.ts';
import type { SystemFolder, SystemRecord } from './guest-folder.ts';

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
type Chunk = { readonly stream: 'stdout' | 'stderr'; readonly data: Uint8Array };

/** Program and arguments that run a command inside. */
export function attachCommand(
  folder: SystemFolder,
  { spec, firstId }: SystemRecord,
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
): [file: string, args: string[]] {
  const words = Object.entries({ PATH, HOME: '/root', ...spec.env, ...env });
  const attach = [
    ...['-P', folder.lxcPath, '-n', folder.uid, '--clear-env'],
    ...words.flatMap(([name, value]) => ['-v', `${name}=${value}`]),
    ...['--', ...command],
  ];
  // LXC's monitor is spoken to by an abstract socket, which belongs to a network namespace (unix(7)).
  return firstId !== undefined && spec.network?.kind === 'netns'
    ? ['/usr/bin/nsenter', [`--net=${spec.network.path}`, '/usr/bin/lxc-attach', ...attach]]
    : ['/usr/bin/lxc-attach', attach];
}

/** Errors: exec_failed. */
export async function openExec(
  folder: SystemFolder,
  record: SystemRecord,
  request: ExecRequest,
  ptyProgram: string,
): Promise<ExecSession> {
  if (request.command.length === 0) throw new SkerryError('exec_failed', 'there is no command to run');
  const env = { ...(request.terminal ? { TERM: 'xterm' } : {}), ...request.env };
  const [file, args] = attachCommand(folder, record, request.command, env);
  const { columns = 80, rows = 24 } = request;
  const terminal = request.terminal ? { terminal: { columns, rows, ptyProgram } } : {};
  const program = await startInteractive(file, args, terminal);
  return {
    output: merged(program),
    exit: program.exit,
    write: (data) =>
      new Promise((resolve, reject) => {
        program.input.write(data, (cause) =>
          cause
            ? reject(new SkerryError('exec_failed', 'the command no longer takes input', { cause }))
            : resolve(),
        );
      }),
    closeInput: () => new Promise((resolve) => program.input.end(resolve)),
    resize: async (columns, rows) => program.resize(columns, rows),
    kill: async () => program.kill(),
  };
}

/** Both outputs in the order of reading; who does not take holds the command up, as on any pipe. */
async function* merged({ stdout, stderr }: InteractiveProgram): AsyncGenerator<Chunk> {
  const pieces: Chunk[] = [];
  const sources = [
    { stream: 'stdout' as const, from: stdout },
    ...(stderr ? [{ stream: 'stderr' as const, from: stderr }] : []),
  ];
  let open = sources.length;
  let wake = () => {};
  for (const { stream, from } of sources) {
    from.on('data', (data: Buffer) => {
      pieces.push({ stream, data });
      from.pause();
      wake();
    });
    from.on('error', () => undefined); // `close` follows
    from.once('close', () => {
      open -= 1;
      wake();
    });
  }
  for (;;) {
    yield* pieces.splice(0);
    if (pieces.length > 0) continue;
    if (open === 0) return;
    for (const { from } of sources) from.resume();
    await new Promise<void>((resolve) => {
      wake = resolve;
      if (pieces.length > 0 || open === 0) resolve();
    });
  }
}
