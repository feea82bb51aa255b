/**
 * Tells instances of handovers: each instance that runs here, of a workload that wants to hear, gets the latest one of each client
 * by a request to its own address, at least once. A later one takes the place of one that was not told yet.
 *
 *   due --it runs--> asked --2xx--> told          --no answer--> due again, ever later --ten times--> given up, with a word in the log
 */
import type { DesiredInstance, HandoverNotice } from '@skerry/contract';
import type { Clock } from '@skerry/reconcile';
import type { Logger } from '../ports.ts';
import type { PostPort } from './post.ts';

export interface NoticesOptions {
  readonly instances: () => readonly DesiredInstance[];
  readonly isRunning: (uid: DesiredInstance['uid']) => boolean;
  readonly post: PostPort;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly ending: AbortSignal;
}

const MOST_AT_ONCE = 8;
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;
const MOST_ATTEMPTS = 10;

type Move = HandoverNotice['moves'][number];
interface Word {
  move: Move;
  state: 'due' | 'asked' | 'waits' | 'done';
  attempts: number;
  cancel: (() => void) | undefined;
}

export class HandoverNotices {
  readonly #options: NoticesOptions;
  #notices: readonly HandoverNotice[] = [];
  /** By instance, then by client. */
  readonly #words = new Map<string, Map<string, Word>>();
  #atWork = 0;
  #isClosed = false;

  constructor(options: NoticesOptions) {
    this.#options = options;
  }

  /** In place of those before. */
  wish(notices: readonly HandoverNotice[]): void {
    this.#notices = notices;
    this.changed();
  }

  /** An instance may run now that did not, or be gone. */
  changed(): void {
    if (this.#isClosed || (this.#notices.length === 0 && this.#words.size === 0)) return;
    const wanted = new Set<string>();
    for (const { workloadUid, moves } of this.#notices)
      for (const { uid, spec, deleted } of this.#options.instances()) {
        const { onHandover, runtime } = spec.template;
        if (spec.workloadUid !== workloadUid || deleted || !onHandover || runtime === 'sim') continue;
        wanted.add(uid);
        this.#renew(uid, moves);
      }
    for (const [uid, words] of this.#words) {
      if (wanted.has(uid)) continue;
      for (const word of words.values()) word.cancel?.();
      this.#words.delete(uid);
    }
    this.#work();
  }

  close(): void {
    this.#isClosed = true;
    for (const words of this.#words.values()) for (const word of words.values()) word.cancel?.();
    this.#words.clear();
  }

  #renew(uid: string, moves: readonly Move[]): void {
    const words = this.#words.get(uid) ?? new Map<string, Word>();
    this.#words.set(uid, words);
    const clients = new Set(moves.map(({ client }) => client));
    for (const [client, word] of words) {
      if (clients.has(client)) continue;
      word.cancel?.();
      words.delete(client);
    }
    for (const move of moves) {
      const before = words.get(move.client);
      if (before?.move.handovers === move.handovers) continue;
      before?.cancel?.();
      words.set(move.client, { move, state: 'due', attempts: 0, cancel: undefined });
    }
  }

  #work(): void {
    const { instances, isRunning } = this.#options;
    for (const one of instances()) {
      if (!this.#words.has(one.uid) || !isRunning(one.uid)) continue;
      for (const word of this.#words.get(one.uid)!.values()) {
        if (this.#atWork >= MOST_AT_ONCE) return; // whoever is done looks again
        if (word.state === 'due') void this.#tell(one, word);
      }
    }
  }

  async #tell({ uid, name, spec }: DesiredInstance, word: Word): Promise<void> {
    const { onHandover } = spec.template;
    if (!onHandover || !spec.network) return;
    const { post, clock, logger, ending } = this.#options;
    word.state = 'asked';
    word.attempts++;
    this.#atWork++;
    const target = { host: spec.network.address, port: onHandover.port, path: onHandover.path ?? '/' };
    const posted = await post(target, JSON.stringify(word.move), ending).catch(() => 'unanswered' as const);
    this.#atWork--;
    if (this.#isClosed) return;
    if (this.#words.get(uid)?.get(word.move.client) === word) {
      const isOver = posted !== 'unanswered' || word.attempts >= MOST_ATTEMPTS;
      word.state = isOver ? 'done' : 'waits';
      if (isOver && posted !== 'taken')
        logger.warn({ instance: name, client: word.move.client, answer: posted }, 'a handover was not taken');
      if (!isOver) {
        const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (word.attempts - 1));
        word.cancel = clock.after(pauseMs, () => {
          word.cancel = undefined;
          word.state = 'due';
          this.#work();
        });
      }
    }
    this.#work();
  }
}
