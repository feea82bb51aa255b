/**
 * A command in a running container: containerd starts it with named pipes for its input and outputs (fifo(7)), whose other
 * ends are here. It ends with its container; when this program dies, the command goes on without anybody to read it.
 */
import { constants, mkdirSync, openSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { run } from '@skerry/host';
import { type Id, newId, SkerryError } from '@skerry/model';
import type { ExecRequest, ExecSession } from '../port.ts';
import { jsonAny } from './api.ts';
import { type EngineClient, isNotFound } from './client.ts';
import type { ExecExits } from './exec-exits.ts';
import { translate } from './failures.ts';

type Chunk = { readonly stream: 'stdout' | 'stderr'; readonly data: Uint8Array };
const SIGKILL = 9;
/** How long an ended command's pipes must be quiet before they are closed from our side. */
const QUIET_MS = 50;
/** Output read but not taken yet. Over it, reading pauses and the command waits, as on any pipe. */
const WAITING_LIMIT_BYTES = 1024 * 1024;

/** Reading end: opens at once, for nobody has to be at the other end yet. */
const openReader = (path: string) =>
  new Socket({
    fd: openSync(path, constants.O_RDONLY | constants.O_NONBLOCK),
    readable: true,
    writable: false,
  });
/** Writing end: O_RDWR, or opening would fail until there is a reader. */
const openWriter = (path: string) =>
  new Socket({
    fd: openSync(path, constants.O_RDWR | constants.O_NONBLOCK),
    readable: false,
    writable: true,
  });

export interface ExecTarget {
  readonly client: EngineClient;
  readonly exits: ExecExits;
  readonly uid: Id<'instance'>;
  /** Process part of the container's runtime spec: user, environment, capabilities, limits. */
  readonly process: { readonly env?: readonly string[] };
  /** Folder for this guest's pipes; goes with the guest. */
  readonly folder: string;
}

function processOf(target: ExecTarget, request: ExecRequest): object {
  const env = [
    ...(target.process.env ?? []),
    ...(request.terminal ? ['TERM=xterm'] : []),
    ...Object.entries(request.env ?? {}).map(([name, value]) => `${name}=${value}`),
  ];
  const size = { height: request.rows ?? 24, width: request.columns ?? 80 };
  return {
    ...target.process,
    args: request.command,
    env,
    terminal: request.terminal,
    ...(request.terminal ? { consoleSize: size } : {}),
  };
}

/** Errors: exec_failed, guest_not_running, engine_unavailable. */
export async function openExec(
  target: ExecTarget,
  request: ExecRequest,
  signal: AbortSignal,
): Promise<ExecSession> {
  if (request.command.length === 0) throw new SkerryError('exec_failed', 'there is no command to run');
  const { client, uid } = target;
  const execId = newId<'exec'>();
  const folder = join(target.folder, execId);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const pipes = request.terminal ? ['stdin', 'stdout'] : ['stdin', 'stdout', 'stderr'];
  const path = (name: string) => (pipes.includes(name) ? join(folder, name) : '');
  const ids = { containerId: uid, execId };
  const readers: { stream: 'stdout' | 'stderr'; socket: Socket }[] = [];
  let input: Socket | undefined;
  const discard = () => {
    for (const { socket } of readers) socket.destroy();
    input?.destroy();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await run('mkfifo', ['-m', '600', ...pipes.map(path)], { signal, timeoutMs: 5000 });
    input = openWriter(path('stdin'));
    for (const stream of ['stdout', 'stderr'] as const) {
      if (pipes.includes(stream)) readers.push({ stream, socket: openReader(path(stream)) });
    }
    const spec = jsonAny('Process', processOf(target, request));
    await client.call(
      'Tasks.Exec',
      {
        ...ids,
        stdin: path('stdin'),
        stdout: path('stdout'),
        stderr: path('stderr'),
        terminal: request.terminal,
        spec,
      },
      { signal },
    );
    try {
      await client.call('Tasks.Start', ids, { signal });
    } catch (error) {
      await client.call('Tasks.DeleteProcess', ids).catch(() => undefined);
      throw error;
    }
  } catch (error) {
    discard();
    if (isNotFound(error))
      throw new SkerryError('guest_not_running', `${uid} is not running`, { cause: error });
    throw translate(error, 'exec_failed', `${request.command[0]} could not be run`);
  }
  const output = mergeOutput(readers);
  const exit = (async () => {
    try {
      return await target.exits.wait(client, uid, execId);
    } finally {
      await client.call('Tasks.DeleteProcess', ids).catch(() => undefined);
      rmSync(folder, { recursive: true, force: true });
      input?.destroy();
      output.processEnded();
    }
  })();
  exit.catch(() => undefined); // whoever asks hears of it
  const writer = input;
  return {
    output: output.chunks,
    exit,
    write: (data) =>
      new Promise((resolve, reject) => {
        writer.write(data, (error) =>
          error
            ? reject(new SkerryError('exec_failed', 'the command no longer takes input', { cause: error }))
            : resolve(),
        );
      }),
    async closeInput() {
      await new Promise<void>((resolve) => {
        writer.end(resolve);
      });
      writer.destroy();
      await client.call('Tasks.CloseIO', { ...ids, stdin: true }).catch(() => undefined);
    },
    async resize(columns, rows) {
      if (request.terminal) await client.call('Tasks.ResizePty', { ...ids, width: columns, height: rows });
    },
    async kill() {
      try {
        await client.call('Tasks.Kill', { ...ids, signal: SIGKILL, all: false });
      } catch (error) {
        if (!isNotFound(error)) throw translate(error, 'exec_failed', 'the command could not be ended');
      }
    },
  };
}

/** The outputs as one stream, in the order of reading; ends when all pipes have ended. */
function mergeOutput(readers: readonly { stream: 'stdout' | 'stderr'; socket: Socket }[]) {
  let waiting: Chunk[] = [];
  let waitingBytes = 0;
  // Asked each time: of a quick command's pipe the end may have been told before anybody listened here, or be on its way.
  const isOpen = () => readers.some(({ socket }) => !socket.closed);
  let arrived = false;
  let wake = () => {};
  for (const { stream, socket } of readers) {
    socket.on('data', (data: Buffer) => {
      waiting.push({ stream, data });
      arrived = true;
      waitingBytes += data.length;
      if (waitingBytes > WAITING_LIMIT_BYTES) for (const one of readers) one.socket.pause();
      wake();
    });
    socket.on('error', () => undefined); // `close` follows
    socket.once('close', () => wake());
  }
  async function* chunks(): AsyncGenerator<Chunk> {
    for (;;) {
      const batch = waiting;
      waiting = [];
      waitingBytes = 0;
      for (const { socket } of readers) socket.resume();
      yield* batch;
      if (waiting.length > 0) continue;
      if (!isOpen()) return;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
  return {
    chunks: chunks(),
    /**
     * A pipe may stay open in a process that the command left behind: what is in it now is all that is waited for. The shim
     * has copied everything by now, so a while without data, all of it taken, is the end.
     */
    processEnded() {
      const timer = setInterval(() => {
        if (isOpen() && (arrived || waitingBytes > 0)) arrived = false;
        else {
          clearInterval(timer);
          for (const { socket } of readers) socket.destroy();
        }
      }, QUIET_MS);
    },
  };
}
