/**
 * Lines from a guest, one at a time and only while somebody waits for one. A guest that sends what nobody asked for, or a
 * line without end, costs a bounded amount of memory and time, and its connection.
 */
import type { Socket } from 'node:net';

/** What may lie about while nobody waits. */
const IDLE_LIMIT_BYTES = 64 * 1024;
const NEW_LINE = 0x0a;

interface Waiting {
  readonly limitBytes: number;
  readonly resolve: (line: string | undefined) => void;
}

export class AgentLines {
  readonly #socket: Socket;
  #pieces: Buffer[] = [];
  #bytes = 0;
  #waiting: Waiting | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (data: Buffer) => this.#take(data));
    socket.on('error', () => undefined);
    socket.on('close', () => this.#give(undefined));
  }

  #take(data: Buffer): void {
    this.#pieces.push(data);
    this.#bytes += data.length;
    if (this.#waiting && data.includes(NEW_LINE)) this.#cut();
    else if (this.#bytes > (this.#waiting?.limitBytes ?? IDLE_LIMIT_BYTES)) this.#socket.destroy();
  }

  /** There is a line end somewhere in what came. */
  #cut(): void {
    const whole = Buffer.concat(this.#pieces);
    const end = whole.indexOf(NEW_LINE);
    const rest = whole.subarray(end + 1);
    this.#pieces = rest.length > 0 ? [rest] : [];
    this.#bytes = rest.length;
    this.#give(end > this.#waiting!.limitBytes ? undefined : whole.toString('utf8', 0, end));
  }

  #give(line: string | undefined): void {
    this.#waiting?.resolve(line);
    this.#waiting = undefined;
  }

  /** What came unasked is thrown away. */
  forget(): void {
    this.#pieces = [];
    this.#bytes = 0;
  }

  /** The next line; undefined where none comes in time, one is too long, or the other side went. One waits at a time. */
  async next(limitMs: number, limitBytes: number): Promise<string | undefined> {
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<string | undefined>((resolve) => {
        if (this.#socket.destroyed) return resolve(undefined);
        this.#waiting = { limitBytes, resolve };
        timer = setTimeout(() => this.#give(undefined), Math.max(0, limitMs));
        if (this.#pieces.some((piece) => piece.includes(NEW_LINE))) this.#cut();
      });
    } finally {
      clearTimeout(timer);
    }
  }
}
