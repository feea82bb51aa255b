/**
 * Starts short programs through skerry-launch (native/skerry-launch.c), because a fork of this large process would stop it for
 * 2 ms each time. It knows how a program ended and what it printed; what that means is run.ts' business.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { SkerryError } from '@skerry/model';

export interface Launched {
  /** `not-started`: `number` is an errno; `too-much`: it printed more than its cap and was ended. */
  readonly how: 'exited' | 'signaled' | 'not-started' | 'too-much';
  /** Status, signal or errno. */
  readonly number: number;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

export interface Launching {
  readonly ended: Promise<Launched>;
  /** By SIGKILL. */
  kill(): void;
}

const HOWS = ['exited', 'signaled', 'not-started', 'too-much'] as const;
const RUN = 1;
const KILL = 2;
const HEAD_BYTES = 13;

export const signalName = (number: number): string =>
  Object.entries(constants.signals).find(([, value]) => value === number)?.[0] ?? `signal ${number}`;
export const errnoName = (number: number): string =>
  Object.entries(constants.errno).find(([, value]) => value === number)?.[0] ?? `errno ${number}`;

function frame(id: number, what: number, rest: readonly Buffer[] = []): Buffer {
  const head = Buffer.alloc(9);
  const length = 5 + rest.reduce((sum, part) => sum + part.length, 0);
  head.writeUInt32LE(length, 0);
  head.writeUInt32LE(id, 4);
  head.writeUInt8(what, 8);
  return Buffer.concat([head, ...rest]);
}

export class Launcher {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve(launched: Launched): void; reject(error: Error): void }>();
  #held: Buffer = Buffer.alloc(0);
  #lastId = 0;
  #ended = false;

  /** `path`: skerry-launch. It ends with this process, or with `close`. */
  constructor(path: string, env: Readonly<Record<string, string>>) {
    this.#child = spawn(path, [], { cwd: '/', env: { ...env }, stdio: ['pipe', 'pipe', 'inherit'] });
    const end = () => this.#end();
    this.#child.on('error', end).on('exit', end);
    this.#child.stdin!.on('error', end);
    this.#child.stdout!.on('data', (data: Buffer) => this.#take(data)).on('error', end);
    this.#child.unref();
    (this.#child.stdin as Socket).unref();
    (this.#child.stdout as Socket).unref();
  }

  /** False once it has ended: programs are then started without it. */
  get usable(): boolean {
    return !this.#ended && this.#child.pid !== undefined;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  run(file: string, args: readonly string[], input: string | Buffer, maxOutputBytes: number): Launching {
    this.#lastId = (this.#lastId + 1) % 0x1_0000_0000;
    const id = this.#lastId;
    const head = Buffer.alloc(6);
    head.writeUInt32LE(Math.min(maxOutputBytes, 0xffff_ffff), 0);
    head.writeUInt16LE(args.length + 1, 4);
    const words = Buffer.from([file, ...args].map((word) => `${word}\0`).join(''));
    const ended = new Promise<Launched>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
    (this.#child.stdout as Socket).ref(); // who waits for a program keeps the process
    this.#child.stdin!.write(frame(id, RUN, [head, words, Buffer.from(input)]));
    return { ended, kill: () => void (this.usable && this.#child.stdin!.write(frame(id, KILL))) };
  }

  close(): void {
    this.#child.stdin!.end();
  }

  #take(data: Buffer): void {
    this.#held = this.#held.length === 0 ? data : Buffer.concat([this.#held, data]);
    for (;;) {
      if (this.#held.length < 4) return;
      const length = this.#held.readUInt32LE(0);
      if (this.#held.length < 4 + length) return;
      const body = this.#held.subarray(4, 4 + length);
      this.#held = this.#held.subarray(4 + length);
      const outBytes = body.readUInt32LE(9);
      this.#settle(body.readUInt32LE(0), {
        how: HOWS[body.readUInt8(4)]!,
        number: body.readInt32LE(5),
        stdout: body.subarray(HEAD_BYTES, HEAD_BYTES + outBytes),
        stderr: body.subarray(HEAD_BYTES + outBytes),
      });
    }
  }

  #settle(id: number, launched: Launched): void {
    this.#waiting.get(id)?.resolve(launched);
    this.#waiting.delete(id);
    if (this.#waiting.size === 0) (this.#child.stdout as Socket).unref();
  }

  #end(): void {
    this.#ended = true;
    for (const { reject } of this.#waiting.values())
      reject(new SkerryError('host_command_failed', 'the program that starts programs has ended'));
    this.#waiting.clear();
  }
}
