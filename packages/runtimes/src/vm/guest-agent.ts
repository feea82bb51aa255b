/**
 * Speaks to the agent inside a guest (qemu-ga, QEMU's "guest agent protocol"): one JSON object to a line, over a socket that
 * the supervisor made. What comes from there is a guest's word: bounded, and never trusted.
 */
import { connect, type Socket } from 'node:net';
import { SkerryError } from '@skerry/model';

const ANSWER_LIMIT_MS = 5000;
/** An agent that is there answers at once. */
const GREETING_LIMIT_MS = 3000;
/** Output of a command comes whole and in base64. */
const LINE_LIMIT = 64 * 1024 * 1024;

export interface GuestAgentCommands {
  'guest-ping': { input: undefined; output: object };
  'guest-exec': {
    input: {
      readonly path: string;
      readonly arg: readonly string[];
      readonly env: readonly string[];
      readonly 'capture-output': boolean;
      readonly 'input-data'?: string;
    };
    output: { readonly pid: number };
  };
  'guest-exec-status': {
    input: { readonly pid: number };
    output: {
      readonly exited: boolean;
      readonly exitcode?: number;
      readonly signal?: number;
      readonly 'out-data'?: string;
      readonly 'err-data'?: string;
    };
  };
}

const silent = (cause?: unknown) =>
  new SkerryError(
    'guest_unresponsive',
    'no agent answers in the guest: install qemu-guest-agent inside and start it',
    { cause },
  );

export class GuestAgent {
  readonly #socket: Socket;
  #rest = '';
  #waiting: { resolve: (line: string) => void; reject: (error: Error) => void } | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => this.#take(text));
    socket.on('error', () => undefined);
    socket.on('close', () => this.#waiting?.reject(silent()));
  }

  /** Errors: guest_unresponsive where none answers. */
  static async connect(path: string): Promise<GuestAgent> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', (cause) => reject(silent(cause)));
    });
    const agent = new GuestAgent(socket);
    try {
      await agent.#synchronise();
      return agent;
    } catch (error) {
      agent.close();
      throw error;
    }
  }

  /** Answers to a connection before this one are passed over: the agent repeats the number that it is given. */
  async #synchronise(): Promise<void> {
    const id = Math.floor(Math.random() * 2 ** 31);
    this.#socket.write(`${JSON.stringify({ execute: 'guest-sync', arguments: { id } })}\n`);
    const until = performance.now() + GREETING_LIMIT_MS;
    for (;;) {
      const answer = await this.#line(until - performance.now());
      if (answer.return === id) return;
    }
  }

  #take(text: string): void {
    this.#rest += text;
    if (this.#rest.length > LINE_LIMIT) return void this.#socket.destroy();
    const end = this.#rest.indexOf('\n');
    if (end < 0 || !this.#waiting) return;
    const { resolve } = this.#waiting;
    this.#waiting = undefined;
    const line = this.#rest.slice(0, end);
    this.#rest = this.#rest.slice(end + 1);
    resolve(line);
  }

  async #line(limitMs: number): Promise<{ return?: unknown; error?: { desc?: unknown } }> {
    let timer: NodeJS.Timeout | undefined;
    try {
      const line = await new Promise<string>((resolve, reject) => {
        this.#waiting = { resolve, reject };
        timer = setTimeout(() => reject(silent()), Math.max(0, limitMs));
        this.#take('');
        if (this.#socket.destroyed) reject(silent());
      });
      const value = JSON.parse(line.replace(/^\xff+/, '')) as unknown;
      return typeof value === 'object' && value !== null ? value : {};
    } catch (error) {
      if (error instanceof SkerryError) throw error;
      throw silent(error);
    } finally {
      clearTimeout(timer);
      this.#waiting = undefined;
    }
  }

  /** Errors: exec_failed with the agent's words, guest_unresponsive. */
  async execute<C extends keyof GuestAgentCommands>(
    command: C,
    input?: GuestAgentCommands[C]['input'],
  ): Promise<GuestAgentCommands[C]['output']> {
    this.#socket.write(`${JSON.stringify({ execute: command, ...(input ? { arguments: input } : {}) })}\n`);
    const answer = await this.#line(ANSWER_LIMIT_MS);
    if (answer.error) {
      const words = String(answer.error.desc ?? 'it did not say why').slice(0, 300);
      throw new SkerryError('exec_failed', `the agent in the guest refused: ${words}`);
    }
    return answer.return as GuestAgentCommands[C]['output'];
  }

  close(): void {
    this.#socket.destroy();
  }
}
