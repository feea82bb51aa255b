/**
 * What a broker must not forget: sessions, retained messages, wills. Each change is an entry of a durable queue; now and then
 * all that is true is written anew and what was before goes. Read once, at the start.
 */
import { type DurableQueue, QueueFull } from '../ports.ts';
import { openQueue } from '../queue/queue.ts';

export type Change = { readonly do: string } & Readonly<Record<string, unknown>>;
export interface Recorded {
  readonly change: Change;
  readonly payload: Uint8Array;
}

const SIZE_BYTES = 2 ** 30;
/** Written since all was written anew: it is again, when it is this much and twice what is true. */
const REWRITE_BYTES = 4 * 2 ** 20;
const CHUNK_BYTES = 2 ** 20;
const NONE = new Uint8Array();

function encode({ change, payload }: Recorded): Buffer {
  const head = Buffer.from(JSON.stringify(change));
  const out = Buffer.allocUnsafe(4 + head.length + payload.length);
  out.writeUInt32LE(head.length, 0);
  out.set(head, 4);
  out.set(payload, 4 + head.length);
  return out;
}
function decode(data: Uint8Array): Recorded {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const end = 4 + bytes.readUInt32LE(0);
  return {
    change: JSON.parse(bytes.toString('utf8', 4, end)) as Change,
    payload: Buffer.from(bytes.subarray(end)), // of its own: it may be held for long
  };
}

export class Journal {
  readonly #queue: DurableQueue;
  readonly #all: () => Iterable<Recorded>;
  #sinceBytes = 0;
  #liveBytes = 0;
  #rewriting: Promise<void> | undefined;
  #closed = false;

  private constructor(queue: DurableQueue, all: () => Iterable<Recorded>) {
    this.#queue = queue;
    this.#all = all;
  }

  /** `apply`: is given every change since all was written anew. `all`: what is true, as changes. */
  static async open(
    folder: string,
    apply: (recorded: Recorded) => void,
    all: () => Iterable<Recorded>,
  ): Promise<Journal> {
    const queue = await openQueue(folder, { sizeBytes: SIZE_BYTES, ageMs: 0, whenFull: 'wait' });
    for (let after = queue.status().acknowledged; ; ) {
      const entries = await queue.read(after, { count: 1000, bytes: CHUNK_BYTES });
      for (const { data } of entries) apply(decode(data));
      const last = entries.at(-1);
      if (!last) break;
      after = last.position;
    }
    const journal = new Journal(queue, all);
    journal.#sinceBytes = queue.status().bytes;
    return journal;
  }

  /** False: the disk takes nothing, and nothing was noted. */
  note(change: Change, payload: Uint8Array = NONE): boolean {
    const data = encode({ change, payload });
    try {
      this.#queue.append([{ id: '', key: '', atMs: Date.now(), priority: 0, data }]);
    } catch (error) {
      if (error instanceof QueueFull) return false;
      throw error;
    }
    this.#sinceBytes += data.length;
    if (this.#sinceBytes > Math.max(REWRITE_BYTES, 2 * this.#liveBytes)) this.#rewrite();
    return true;
  }
  /** Resolves when all that was noted is durable. */
  sync(): Promise<void> {
    return this.#queue.sync();
  }

  #rewrite(): void {
    if (this.#rewriting || this.#closed) return;
    this.#sinceBytes = 0;
    this.#rewriting = this.#writeAll()
      .catch(() => undefined) // a full disk: what is there stays, and it is tried again later
      .finally(() => {
        this.#rewriting = undefined;
      });
  }
  /** What changes meanwhile is noted beside it: each entry is as things are when it is written. */
  async #writeAll(): Promise<void> {
    const before = this.#queue.status().lastPosition;
    let [live, chunk] = [0, 0];
    for (const recorded of this.#all()) {
      const data = encode(recorded);
      this.#queue.append([{ id: '', key: '', atMs: Date.now(), priority: 0, data }]);
      live += data.length;
      chunk += data.length;
      if (chunk < CHUNK_BYTES) continue;
      chunk = 0;
      await this.#queue.sync();
      if (this.#closed) return;
    }
    await this.#queue.sync();
    this.#liveBytes = live;
    this.#queue.acknowledge(before);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#rewriting;
    await this.#queue.close();
  }
}
