/**
 * One end of a session: asks the other side, and answers what it asks. Streams are never faster than their reader: an item
 * is sent only where the reader has room for it. It knows neither sockets nor what is asked.
 */
import { SkerryError } from '@skerry/model';
import { fromProblem, toProblem } from '../problem.ts';
import { type Frame, parseFrame } from './frames.ts';

/** What a peer sends its frames over. Frames arrive in order, or the line is lost. */
export interface Line {
  /** Resolves when there is room for more. Errors: any, when it is lost. */
  send(text: string): Promise<void>;
  close(): void;
}

export interface Served {
  readonly calls: Readonly<Record<string, (params: never, signal: AbortSignal) => Promise<unknown>>>;
  readonly streams: Readonly<Record<string, (params: never, signal: AbortSignal) => AsyncIterable<unknown>>>;
}

export interface Peer {
  /** A text from the other side. One that is no frame ends the session. */
  receive(text: string): void;
  /** The line is gone: all that was asked fails, all that is being answered is cancelled. */
  lost(): void;
  /** Errors: those of the other side; unavailable, cancelled. */
  call<T>(method: string, params: unknown, signal?: AbortSignal): Promise<T>;
  /** `room`: how many items may wait here for their reader. Errors: those of the other side; unavailable. */
  stream<T>(method: string, params: unknown, signal: AbortSignal, room?: number): AsyncGenerator<T>;
}

/** At once in each direction: beyond it whoever asks is refused. */
const ASKED_AT_ONCE = 4096;
const USUAL_ROOM = 32;

const lostError = () => new SkerryError('unavailable', 'the session between agent and controller was lost');

interface Waiting {
  take(frame: Frame): void;
  fail(error: Error): void;
}
interface Answering {
  readonly abort: AbortController;
  room: number;
  wake: () => void;
}

export function createPeer(line: Line, served: Served): Peer {
  const asked = new Map<number, Waiting>();
  const answering = new Map<number, Answering>();
  let last = 0;
  let isLost = false;

  const lose = () => {
    if (isLost) return;
    isLost = true;
    for (const { abort, wake } of answering.values()) {
      abort.abort();
      wake();
    }
    answering.clear();
    for (const waiting of asked.values()) waiting.fail(lostError());
    asked.clear();
    line.close();
  };
  const send = async (frame: Frame) => {
    if (isLost) throw lostError();
    try {
      await line.send(JSON.stringify(frame));
    } catch (error) {
      lose();
      throw new SkerryError('unavailable', 'the session between agent and controller was lost', {
        cause: error,
      });
    }
  };
  /** For what may fail without harm: the loss is told elsewhere. */
  const tell = (frame: Frame) => void send(frame).catch(() => undefined);
  const failed = (id: number, thrown: unknown) => tell({ t: 'failed', id, problem: toProblem(thrown) });

  const answerCall = async (id: number, method: string, params: unknown, abort: AbortController) => {
    const handler = Object.hasOwn(served.calls, method) ? served.calls[method] : undefined;
    if (!handler) throw new SkerryError('unsupported', `the other side does not know "${method}"`);
    tell({ t: 'value', id, value: (await handler(params as never, abort.signal)) ?? null });
  };
  const answerStream = async (id: number, method: string, params: unknown, answer: Answering) => {
    const handler = Object.hasOwn(served.streams, method) ? served.streams[method] : undefined;
    if (!handler) throw new SkerryError('unsupported', `the other side does not know "${method}"`);
    const { signal } = answer.abort;
    const untilRoom = async () => {
      while (answer.room <= 0 && !signal.aborted)
        await new Promise<void>((resolve) => {
          answer.wake = resolve;
        });
    };
    await untilRoom();
    if (signal.aborted) return;
    for await (const value of handler(params as never, signal)) {
      if (signal.aborted) return;
      answer.room--;
      await send({ t: 'item', id, value });
      await untilRoom(); // before the next one is made: where only the newest counts, it is the newest
      if (signal.aborted) return;
    }
    tell({ t: 'end', id });
  };
  const answer = (frame: Extract<Frame, { t: 'call' | 'open' }>) => {
    const { id, method, params } = frame;
    if (answering.has(id)) return lose();
    if (answering.size >= ASKED_AT_ONCE)
      return failed(id, new SkerryError('unavailable', 'too much is asked at once'));
    const one: Answering = { abort: new AbortController(), room: frame.room ?? 0, wake: () => undefined };
    answering.set(id, one);
    const work =
      frame.t === 'call' ? answerCall(id, method, params, one.abort) : answerStream(id, method, params, one);
    work
      .catch((thrown) => {
        if (!one.abort.signal.aborted) failed(id, thrown);
      })
      .finally(() => answering.delete(id));
  };

  /** Asks; from then on `waiting` hears the answers. Returns how to stop asking. */
  const ask = (
    frame: { t: 'call' | 'open'; method: string; params: unknown; room?: number },
    waiting: Waiting,
  ) => {
    if (isLost) throw lostError();
    if (asked.size >= ASKED_AT_ONCE) throw new SkerryError('unavailable', 'too much is asked at once');
    const id = ++last;
    asked.set(id, waiting);
    send({ ...frame, id }).catch((error) => {
      if (asked.delete(id)) waiting.fail(error);
    });
    return {
      id,
      forget: () => {
        if (asked.delete(id) && !isLost) tell({ t: 'cancel', id });
      },
    };
  };

  return {
    lost: lose,
    receive(text) {
      if (isLost) return;
      const frame = parseFrame(text);
      if (!frame) return lose();
      if (frame.t === 'call' || frame.t === 'open') return answer(frame);
      if (frame.t === 'more' || frame.t === 'cancel') {
        const one = answering.get(frame.id);
        if (!one) return;
        if (frame.t === 'cancel') one.abort.abort();
        else one.room += frame.room;
        return one.wake();
      }
      const waiting = asked.get(frame.id);
      if (frame.t !== 'item') asked.delete(frame.id);
      if (frame.t === 'failed') waiting?.fail(fromProblem(frame.problem, 500));
      else waiting?.take(frame); // an answer to what was taken back is no news
    },
    call<T>(method: string, params: unknown, signal?: AbortSignal) {
      return new Promise<T>((resolve, reject) => {
        const cancelled = () => new SkerryError('cancelled', `${method} was cancelled`);
        if (signal?.aborted) return reject(cancelled());
        const onAbort = () => {
          question.forget();
          reject(cancelled());
        };
        const done = () => signal?.removeEventListener('abort', onAbort);
        const question = ask(
          { t: 'call', method, params },
          {
            take(frame) {
              done();
              if (frame.t === 'value') resolve(frame.value as T);
              else lose();
            },
            fail(error) {
              done();
              reject(error);
            },
          },
        );
        signal?.addEventListener('abort', onAbort, { once: true });
      });
    },
    async *stream<T>(method: string, params: unknown, signal: AbortSignal, room = USUAL_ROOM) {
      const items: T[] = [];
      let error: Error | undefined;
      let ended = signal.aborted;
      let wake = () => {};
      const stop = () => {
        ended = true;
        wake();
      };
      if (ended) return;
      const question = ask(
        { t: 'open', method, params, room },
        {
          take(frame) {
            if (frame.t === 'item' && items.length < room) items.push(frame.value as T);
            else if (frame.t === 'end') ended = true;
            else lose();
            wake();
          },
          fail(thrown) {
            error = thrown;
            stop();
          },
        },
      );
      signal.addEventListener('abort', stop, { once: true });
      let taken = 0;
      try {
        while (!signal.aborted) {
          if (items.length > 0) {
            yield items.shift()!;
            if (++taken * 2 >= room && !ended) {
              tell({ t: 'more', id: question.id, room: taken });
              taken = 0;
            }
          } else if (ended) {
            if (error) throw error;
            return;
          } else
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
        }
      } finally {
        signal.removeEventListener('abort', stop);
        question.forget();
      }
    },
  };
}
