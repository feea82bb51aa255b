/**
 * `NodeLink` over a session: what a controller asks a node on demand. Bytes travel as base64; a terminal is a number on the
 * node's side until it has ended or the session is over.
 */
import type { Id } from '@skerry/model';
import { SkerryError } from '@skerry/model';
import type { NodeExecRequest, NodeExecSession, NodeLink } from '../agent.ts';
import type { HubCall } from '../devices.ts';
import type { Peer, Served } from './peer.ts';

type Uid = Id<'instance'>;
type Console = Awaited<ReturnType<NodeLink['console']>>;
const never = new AbortController().signal;
const pack = (data: Uint8Array) => Buffer.from(data).toString('base64');
const unpack = (text: string) => Buffer.from(text, 'base64');

/** The verbs whose answers are plain values, and what they are asked with besides the instance. */
const PLAIN = [
  'stats',
  'pause',
  'resume',
  'snapshots',
  'takeSnapshot',
  'restoreSnapshot',
  'removeSnapshot',
  'growDisk',
  'setMemory',
  'display',
] as const satisfies readonly (keyof NodeLink)[];

/** The controller's side. */
export function remoteNode(peer: Peer): NodeLink {
  const plain = Object.fromEntries(
    PLAIN.map((verb) => [
      verb,
      (...words: unknown[]) => peer.call(verb, words.slice(0, -1), words.at(-1) as AbortSignal),
    ]),
  ) as unknown as Pick<NodeLink, (typeof PLAIN)[number]>;
  return {
    ...plain,
    logs: (uid, options, signal) => peer.stream('logs', { uid, options }, signal),
    hub: (call, signal) => peer.stream('hub', call, signal),
    probe: (signal) => peer.call('probe', {}, signal),
    screenshot: async (uid, signal) => unpack(await peer.call<string>('screenshot', { uid }, signal)),
    async exec(uid, request, signal) {
      return remoteExec(peer, await peer.call<number>('exec', { uid, request }, signal));
    },
    async console(uid, signal) {
      const terminal = await peer.call<number>('console', { uid }, signal);
      return {
        output: (async function* () {
          for await (const text of peer.stream<string>('console.output', { terminal }, signal))
            yield unpack(text);
        })(),
        write: (data) => peer.call('console.write', { terminal, data: pack(data) }),
      };
    },
  };
}

function remoteExec(peer: Peer, terminal: number): NodeExecSession {
  const exit = peer.call<number>('exec.exit', { terminal });
  exit.catch(() => undefined); // who waits for it hears of it
  return {
    exit,
    output: (async function* () {
      const items = peer.stream<{ stream: 'stdout' | 'stderr'; data: string }>(
        'exec.output',
        { terminal },
        never,
      );
      for await (const { stream, data } of items) yield { stream, data: unpack(data) };
    })(),
    write: (data) => peer.call('exec.write', { terminal, data: pack(data) }),
    closeInput: () => peer.call('exec.closeInput', { terminal }),
    resize: (columns, rows) => peer.call('exec.resize', { terminal, columns, rows }),
    kill: () => peer.call('exec.kill', { terminal }),
  };
}

interface Terminal {
  readonly exec?: NodeExecSession;
  readonly console?: Console;
  readonly abort: AbortController;
  /** What still reads from it. */
  left: number;
}

/** The node's side. `over`: the session has ended, and with it the terminals that it opened. */
export function serveNode(node: NodeLink, over: AbortSignal): Served {
  const terminals = new Map<number, Terminal>();
  let last = 0;
  over.addEventListener('abort', () => {
    for (const { exec, abort } of terminals.values()) {
      void exec?.kill().catch(() => undefined);
      abort.abort();
    }
    terminals.clear();
  });
  const keep = (terminal: Omit<Terminal, 'left'>, left: number) => {
    terminals.set(++last, { ...terminal, left });
    return last;
  };
  const release = (terminal: number) => {
    const found = terminals.get(terminal);
    if (found && --found.left === 0) terminals.delete(terminal);
  };
  const at = (terminal: number) => {
    const found = terminals.get(terminal);
    if (!found) throw new SkerryError('not_found', 'the terminal is not open any more');
    return found;
  };
  const execAt = (terminal: number) => {
    const { exec } = at(terminal);
    if (!exec) throw new SkerryError('not_found', 'the terminal is not one of a command');
    return exec;
  };
  const plain = Object.fromEntries(
    PLAIN.map((verb) => [
      verb,
      (words: unknown[], signal: AbortSignal) =>
        (node[verb] as (...all: unknown[]) => Promise<unknown>)(...words, signal),
    ]),
  );
  type At = { terminal: number };
  return {
    calls: {
      ...plain,
      probe: (_: unknown, signal) => node.probe(signal),
      screenshot: async ({ uid }: { uid: Uid }, signal) => pack(await node.screenshot(uid, signal)),
      async exec({ uid, request }: { uid: Uid; request: NodeExecRequest }, signal) {
        return keep({ exec: await node.exec(uid, request, signal), abort: new AbortController() }, 2);
      },
      'exec.exit': ({ terminal }: At) => execAt(terminal).exit.finally(() => release(terminal)),
      // A command that has ended hears nothing any more: what comes late is no error.
      'exec.write': async ({ terminal, data }: At & { data: string }) =>
        terminals.get(terminal)?.exec?.write(unpack(data)),
      'exec.closeInput': async ({ terminal }: At) => terminals.get(terminal)?.exec?.closeInput(),
      'exec.resize': async ({ terminal, columns, rows }: At & { columns: number; rows: number }) =>
        terminals.get(terminal)?.exec?.resize(columns, rows),
      'exec.kill': async ({ terminal }: At) => terminals.get(terminal)?.exec?.kill(),
      async console({ uid }: { uid: Uid }) {
        const abort = new AbortController();
        return keep({ console: await node.console(uid, abort.signal), abort }, 1);
      },
      'console.write': ({ terminal, data }: At & { data: string }) => {
        const found = at(terminal).console;
        if (!found) throw new SkerryError('not_found', 'the terminal is not a console');
        return found.write(unpack(data));
      },
    },
    streams: {
      logs: ({ uid, options }: { uid: Uid; options: Parameters<NodeLink['logs']>[1] }, signal) =>
        node.logs(uid, options, signal),
      hub(call: HubCall, signal: AbortSignal) {
        if (!node.hub) throw new SkerryError('unsupported', 'this node has no device program');
        return node.hub(call, signal);
      },
      async *'exec.output'({ terminal }: At) {
        const exec = execAt(terminal);
        try {
          for await (const { stream, data } of exec.output) yield { stream, data: pack(data) };
        } finally {
          release(terminal);
        }
      },
      async *'console.output'({ terminal }: At, signal: AbortSignal) {
        const one = at(terminal);
        signal.addEventListener('abort', () => one.abort.abort(), { once: true });
        try {
          for await (const data of one.console?.output ?? []) yield pack(data);
        } finally {
          one.abort.abort();
          release(terminal);
        }
      },
    },
  };
}
