/** A command in a running container, over a connection that the engine gives up to us (`docker exec`). */
import type { Duplex } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { processRef, signalProcess } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import { lastCause } from '../containerd/failures.ts';
import type { ExecRequest, ExecSession } from '../port.ts';
import { type EngineApi, EngineRefusal } from './engine-api.ts';
import { type Frame, framesOf } from './frames.ts';

interface Started {
  readonly Running: boolean;
  readonly ExitCode: number | null;
  readonly Pid: number;
}

/** `path`: of the container. Errors: exec_failed, guest_not_running, engine_unavailable. */
export async function dockerExec(
  api: EngineApi,
  path: string,
  request: ExecRequest,
  signal: AbortSignal,
): Promise<ExecSession> {
  const { command, terminal, env = {}, columns, rows } = request;
  const [name] = command;
  if (name === undefined) throw new SkerryError('exec_failed', 'there is no command to run');
  let id: string;
  let socket: Duplex;
  try {
    const body = {
      ...{ AttachStdin: true, AttachStdout: true, AttachStderr: true, Tty: terminal, Cmd: command },
      Env: [
        ...(terminal ? ['TERM=xterm'] : []),
        ...Object.entries(env).map(([key, value]) => `${key}=${value}`),
      ],
    };
    ({ Id: id } = await api.call<{ Id: string }>('POST', `${path}/exec`, { signal, body }));
    socket = await api.upgrade(`/exec/${id}/start`, { Detach: false, Tty: terminal }, signal);
  } catch (error) {
    throw execError(error, name);
  }
  const resize = async (width: number, height: number) => {
    if (!terminal) return;
    await api.call('POST', `/exec/${id}/resize`, { query: { w: width, h: height } }).catch(() => undefined); // it has ended
  };
  const letGo = () => socket.destroy();
  signal.addEventListener('abort', letGo, { once: true });
  socket.once('close', () => signal.removeEventListener('abort', letGo));
  const { output, over } = readAhead(terminal ? asOutput(socket) : framesOf(socket));
  if (terminal) await sizeFirst(api, id, columns ?? 80, rows ?? 24);
  // The engine leaves the connection open where the command could not be started, and where it left processes behind.
  const looking = setInterval(async () => {
    const found = await api.call<Started>('GET', `/exec/${id}/json`).catch(() => undefined);
    if (found && !found.Running && found.ExitCode !== null) socket.destroy();
  }, LOOK_EVERY_MS).unref();
  const exit = (async () => {
    await over.finally(() => clearInterval(looking));
    const { ExitCode } = await api.call<Started>('GET', `/exec/${id}/json`);
    return ExitCode ?? 137; // the container ended with it
  })();
  exit.catch(() => undefined); // whoever asks hears of it
  return {
    output,
    exit,
    write: (data) =>
      new Promise((resolve, reject) => {
        socket.write(data, (error) =>
          error
            ? reject(new SkerryError('exec_failed', 'the command no longer takes input', { cause: error }))
            : resolve(),
        );
      }),
    closeInput: () => new Promise((resolve) => void socket.end(() => resolve())),
    resize,
    async kill() {
      const { Running, Pid } = await api.call<Started>('GET', `/exec/${id}/json`);
      const process = Running && Pid > 0 ? processRef(Pid) : undefined;
      if (process) signalProcess(process, 'SIGKILL');
    },
  };
}

const LOOK_EVERY_MS = 500;
const SIZE_ATTEMPTS = 20;
const SIZE_PAUSE_MS = 10;

/** The engine refuses a size until the terminal is there, a moment after it has answered. */
async function sizeFirst(api: EngineApi, id: string, w: number, h: number): Promise<void> {
  for (let attempt = 0; attempt < SIZE_ATTEMPTS; attempt++) {
    try {
      await api.call('POST', `/exec/${id}/resize`, { query: { w, h } });
      return;
    } catch (error) {
      if (!(error instanceof EngineRefusal)) throw error;
      await pause(SIZE_PAUSE_MS);
    }
  }
}

async function* asOutput(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Frame> {
  for await (const data of bytes) yield { stream: 'stdout', data: Buffer.from(data) };
}

/** Output read but not taken yet. Over it, reading waits, and with it the command, as on any pipe. */
const AHEAD_BYTES = 1024 * 1024;

/** Reads whether or not anybody takes it, for only the end of the output tells of the command's end. */
function readAhead(frames: AsyncIterable<Frame>): { output: AsyncIterable<Frame>; over: Promise<void> } {
  let waiting: Frame[] = [];
  let waitingBytes = 0;
  let isOver = false;
  let arrived = () => {};
  let taken = () => {};
  const over = (async () => {
    try {
      for await (const frame of frames) {
        waiting.push(frame);
        waitingBytes += frame.data.length;
        arrived();
        while (waitingBytes > AHEAD_BYTES)
          await new Promise<void>((resolve) => {
            taken = resolve;
          });
      }
    } catch {
      // the connection broke: its end tells
    } finally {
      isOver = true;
      arrived();
    }
  })();
  const output = (async function* () {
    for (;;) {
      const batch = waiting;
      waiting = [];
      waitingBytes = 0;
      taken();
      yield* batch;
      if (waiting.length > 0) continue;
      if (isOver) return;
      await new Promise<void>((resolve) => {
        arrived = resolve;
      });
    }
  })();
  return { output, over };
}

function execError(error: unknown, name: string): unknown {
  if (!(error instanceof EngineRefusal)) return error;
  if (error.status === 404 || error.status === 409)
    return new SkerryError('guest_not_running', 'the container is not running', { cause: error });
  const text = `${name} could not be run: ${lastCause(error.message)}`;
  return new SkerryError('exec_failed', text, { cause: error });
}
