/**
 * Speaks to the agent inside a guest (qemu-ga): one JSON object to a line, over a socket that the supervisor made. What
 * comes from there is a guest's word: bounded in size and time, checked for its shape, and never trusted.
 */
import { connect, type Socket } from 'node:net';
import { SkerryError } from '@skerry/model';
import {
  AGENT_COMMANDS,
  type AgentAnswer,
  type AgentCommand,
  type AgentInput,
  isAnswer,
} from './agent-commands.ts';
import { AgentLines } from './agent-lines.ts';

/** An agent that is there answers at once. */
const GREETING_LIMIT_MS = 3000;
const GREETING_LIMIT_BYTES = 64 * 1024;
/** Answers to a connection before this one, that are passed over; an agent has one at the most, and an error. */
const MOST_STALE_LINES = 16;
/** Ends whatever half of a command a connection before this one had sent (protocol reference, guest-sync-delimited). */
const RESET = Buffer.from([0xff]);

const silent = (cause?: unknown) =>
  new SkerryError(
    'guest_unresponsive',
    'no agent answers in the guest: install qemu-guest-agent inside and start it',
    { cause },
  );

interface Reply {
  readonly return?: unknown;
  readonly error?: { readonly desc?: unknown };
}

export class GuestAgent {
  readonly #socket: Socket;
  readonly #lines: AgentLines;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#lines = new AgentLines(socket);
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

  /** The other side went, or did not keep to the protocol: nothing more is to be had from it. */
  get isClosed(): boolean {
    return this.#socket.destroyed;
  }

  /** The agent repeats the number that it is given: what comes before is of another connection. */
  async #synchronise(): Promise<void> {
    const id = Math.floor(Math.random() * 2 ** 31);
    this.#socket.write(RESET);
    this.#send('guest-sync', { id });
    const until = performance.now() + GREETING_LIMIT_MS;
    for (let line = 0; line < MOST_STALE_LINES; line++) {
      const text = await this.#lines.next(until - performance.now(), GREETING_LIMIT_BYTES);
      if (text === undefined) break;
      if (parse(text).return === id) return;
    }
    throw silent();
  }

  #send(command: string, input: object | undefined): void {
    this.#socket.write(`${JSON.stringify({ execute: command, ...(input ? { arguments: input } : {}) })}\n`);
  }

  /** One command after the other. Errors: exec_failed with the agent's words, guest_unresponsive. */
  execute<C extends AgentCommand>(command: C, ...input: AgentInput<C>): Promise<AgentAnswer<C>> {
    const answer = this.#last.then(() => this.#ask(command, input[0]));
    this.#last = answer.catch(() => undefined);
    return answer;
  }

  async #ask<C extends AgentCommand>(command: C, input: object | undefined): Promise<AgentAnswer<C>> {
    const { limitMs, limitBytes } = AGENT_COMMANDS[command];
    this.#lines.forget();
    this.#send(command, input);
    const text = await this.#lines.next(limitMs, limitBytes);
    if (text === undefined) {
      this.close(); // what comes late would answer the next command
      throw silent();
    }
    const answer = parse(text);
    if (answer.error) {
      const words = plainWords(answer.error.desc);
      throw new SkerryError('exec_failed', `the agent in the guest refused: ${words}`);
    }
    if (!isAnswer(command, answer.return)) {
      this.close();
      throw new SkerryError('guest_unresponsive', `what the guest answered to ${command} is no answer to it`);
    }
    return answer.return;
  }

  close(): void {
    this.#socket.destroy();
  }
}

/** A line that is no object says nothing. */
function parse(line: string): Reply {
  try {
    const value = JSON.parse(line) as unknown;
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}

/** Words of a guest that a person will read: short, and without what a terminal would obey. */
function plainWords(words: unknown): string {
  if (typeof words !== 'string') return 'it did not say why';
  return words.slice(0, 300).replace(/\p{C}/gu, ' ');
}
