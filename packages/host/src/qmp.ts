/**
 * QEMU's machine protocol over a unix socket (qemu.readthedocs.io, QMP reference): greeting, capabilities, commands with
 * an id, events. One connection for a guest. It knows no machine and decides nothing.
 */
import { connect, type Socket } from 'node:net';
import { SkerryError } from '@skerry/model';

export interface QmpEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly atMs: number;
}

/** The commands that are used, with what they take and give. */
export interface QmpCommands {
  cont: { input: undefined; output: Record<string, never> };
  stop: { input: undefined; output: Record<string, never> };
  quit: { input: undefined; output: Record<string, never> };
  system_powerdown: { input: undefined; output: Record<string, never> };
  'query-status': { input: undefined; output: { readonly status: string; readonly running: boolean } };
  'query-block': { input: undefined; output: readonly QmpBlock[] };
  'query-named-block-nodes': { input: { readonly flat: boolean }; output: readonly QmpBlockNode[] };
  'query-chardev': {
    input: undefined;
    output: readonly { readonly label: string; readonly 'frontend-open': boolean }[];
  };
  'query-balloon': { input: undefined; output: { readonly actual: number } };
  'query-jobs': {
    input: undefined;
    output: readonly { readonly id: string; readonly status: string; readonly error?: string }[];
  };
  balloon: { input: { readonly value: number }; output: Record<string, never> };
  block_resize: {
    input: { readonly 'node-name': string; readonly size: number };
    output: Record<string, never>;
  };
  screendump: {
    input: { readonly filename: string; readonly format: 'png' };
    output: Record<string, never>;
  };
  'snapshot-save': { input: QmpSnapshot; output: Record<string, never> };
  'snapshot-load': { input: QmpSnapshot; output: Record<string, never> };
  'snapshot-delete': { input: Omit<QmpSnapshot, 'vmstate'>; output: Record<string, never> };
  'job-dismiss': { input: { readonly id: string }; output: Record<string, never> };
  'query-version': {
    input: undefined;
    output: { readonly qemu: { readonly major: number; readonly minor: number; readonly micro: number } };
  };
}

export interface QmpBlock {
  readonly device: string;
  readonly qdev?: string;
  readonly 'io-status'?: 'ok' | 'failed' | 'nospace';
  readonly inserted?: { readonly 'node-name'?: string };
}

export interface QmpBlockNode {
  readonly 'node-name'?: string;
  /** Its format: `qcow2`, `raw`. */
  readonly drv: string;
  readonly image: {
    readonly 'virtual-size': number;
    readonly snapshots?: readonly {
      readonly id: string;
      readonly name: string;
      readonly 'vm-state-size': number;
      readonly 'date-sec': number;
      readonly 'date-nsec': number;
    }[];
  };
}

/** `vmstate` and `devices` are node names. */
export interface QmpSnapshot {
  readonly 'job-id': string;
  readonly tag: string;
  readonly vmstate: string;
  readonly devices: readonly string[];
}

export interface QmpClient {
  /** Errors: guest_unresponsive after `limitMs`, unavailable when the connection ends, internal with QEMU's words. */
  execute<C extends keyof QmpCommands>(
    command: C,
    limitMs?: number,
    input?: QmpCommands[C]['input'],
  ): Promise<QmpCommands[C]['output']>;
  /** Resolves when the connection has ended, whoever ended it. */
  readonly closed: Promise<void>;
  close(): void;
}

interface Reply {
  readonly QMP?: unknown;
  readonly id?: number;
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly event?: string;
  readonly data?: Record<string, unknown>;
  readonly timestamp?: { readonly seconds: number; readonly microseconds: number };
}

const COMMAND_LIMIT_MS = 10_000;
const LINE_LIMIT = 1024 * 1024;

/** Connects and negotiates. `onEvent` hears every event from the first on. Errors: unavailable, guest_unresponsive. */
export async function connectQmp(
  path: string,
  onEvent: (event: QmpEvent) => void,
  limitMs = COMMAND_LIMIT_MS,
): Promise<QmpClient> {
  const socket = connect(path);
  const waiting = new Map<
    number,
    { resolve: (value: never) => void; reject: (error: Error) => void; timer: NodeJS.Timeout }
  >();
  let nextId = 1;
  let rest = '';
  let greet!: () => void;
  const greeting = new Promise<void>((resolve) => {
    greet = resolve;
  });
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const lost = (cause?: unknown) =>
    new SkerryError('unavailable', `the monitor ${path} does not answer`, { cause });

  const tell = (event: QmpEvent) => {
    try {
      onEvent(event);
    } catch {
      // a listener's fault is its own: the connection goes on
    }
  };
  const dispatch = (reply: Reply) => {
    if (typeof reply !== 'object') throw new TypeError('no QMP');
    if (reply.QMP) return greet();
    if (reply.event) {
      const { seconds = 0, microseconds = 0 } = reply.timestamp ?? {};
      return tell({
        event: reply.event,
        data: reply.data ?? {},
        atMs: seconds * 1000 + microseconds / 1000,
      });
    }
    const call = reply.id === undefined ? undefined : waiting.get(reply.id);
    if (!call) return undefined;
    waiting.delete(reply.id!);
    clearTimeout(call.timer);
    if (reply.error)
      call.reject(
        new SkerryError('internal', `QEMU refused: ${reply.error.desc}`, {
          details: { class: reply.error.class },
        }),
      );
    else call.resolve(reply.return as never);
    return undefined;
  };
  socket.setEncoding('utf8');
  socket.on('data', (text: string) => {
    rest += text;
    if (rest.length > LINE_LIMIT) return void socket.destroy();
    const lines = rest.split('\n');
    rest = lines.pop()!;
    for (const line of lines) {
      if (line.trim() === '') continue;
      try {
        dispatch(JSON.parse(line) as Reply);
      } catch {
        socket.destroy(); // no QMP on the other side
      }
    }
  });
  socket.on('error', () => undefined);
  void closed.then(() => {
    for (const call of waiting.values()) {
      clearTimeout(call.timer);
      call.reject(lost());
    }
    waiting.clear();
  });

  const execute = <T>(command: string, timeMs: number, input?: object) =>
    new Promise<T>((resolve, reject) => {
      if (socket.destroyed) return reject(lost());
      const id = nextId++;
      const timer = setTimeout(() => {
        waiting.delete(id);
        reject(new SkerryError('guest_unresponsive', `QEMU did not answer ${command} within ${timeMs} ms`));
      }, timeMs);
      waiting.set(id, { resolve: resolve as (value: never) => void, reject, timer });
      socket.write(`${JSON.stringify({ execute: command, ...(input ? { arguments: input } : {}), id })}\n`);
    });

  await ready(socket, greeting, closed, limitMs, lost);
  try {
    await execute('qmp_capabilities', limitMs);
  } catch (error) {
    socket.destroy(); // a monitor takes one connection at a time: held, it would let nobody else in
    throw error;
  }
  return {
    execute: (command, timeMs = COMMAND_LIMIT_MS, input) => execute(command, timeMs, input),
    closed,
    close: () => void socket.destroy(),
  };
}

async function ready(
  socket: Socket,
  greeting: Promise<void>,
  closed: Promise<void>,
  limitMs: number,
  lost: (cause?: unknown) => SkerryError,
): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(lost()), limitMs);
  });
  const ended = closed.then(() => {
    throw lost();
  });
  ended.catch(() => undefined);
  try {
    await Promise.race([greeting, late, ended]);
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
