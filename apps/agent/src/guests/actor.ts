/**
 * One instance, one writer: takes its mail, asks `decide` what is next, performs it, and asks again until there is
 * nothing to do. It trusts no event about the guest's state: an event makes it look (`recover`), what it sees counts.
 *
 *   mail (host news, then wishes) -> look -> decide -> perform -> decide … -> none | wait (one timer)
 */
import type { AgentEvent } from '@skerry/contract';
import { asSkerryError, type Id, type RuntimeKind, SkerryError } from '@skerry/model';
import { type Batch, backoffAfter } from '@skerry/reconcile';
import type { Runtime } from '@skerry/runtimes';
import type { InstanceRecord } from '../ledger/record.ts';
import type { ActorContext, GuestNews, GuestRequest } from './context.ts';
import { type Action, decide, type Want } from './decide.ts';
import { Guest } from './guest.ts';
import { attachRequestOf, incarnationOf } from './resolve.ts';

const PAUSED = {
  asked: 'it is paused; `skerry workload resume` lets it go on',
  'disk-full': 'it holds still: the disk of the node is full; it goes on when there is room',
  'io-error': 'it holds still: its disk could not be read or written',
} as const;

/** More actions than any way through the phases needs: beyond it something goes round in circles. */
const MAX_ACTIONS = 24;

export class GuestActor {
  readonly uid: Id<'instance'>;
  readonly #context: ActorContext;
  readonly #guest: Guest;
  /** Without a wish nothing is done to the guest. */
  #wished = false;
  #cancelTimer: (() => void) | undefined;
  #failures = 0;

  /** `found`: it is from the ledger, and its record may be older than what an agent that died did last. */
  constructor(context: ActorContext, record: InstanceRecord, found: boolean) {
    this.#context = context;
    this.uid = record.uid;
    this.#guest = new Guest(context, record, found);
  }

  get record(): Readonly<InstanceRecord> {
    return this.#guest.record;
  }

  get runtime(): Runtime | undefined {
    return this.#context.engine(this.record.runtime)?.runtime;
  }

  get address(): string | undefined {
    return this.#guest.wish.desired?.spec.network?.address;
  }

  /** The kinds of runtime whose state matters to it. */
  concerns(kind: RuntimeKind): boolean {
    return this.record.runtime === kind || this.#guest.wish.desired?.spec.template.runtime === kind;
  }

  acknowledge(events: readonly AgentEvent[]): void {
    if (!this.#guest.forgotten) this.#guest.journal.acknowledge(events);
  }

  /** Tells people something about this instance that is not its own doing. */
  note(reason: string, message: string): void {
    this.#guest.journal.event('warning', reason, message);
    this.#guest.journal.set({ reason: message });
  }

  /** Nothing of it is left on the node, in the ledger, or to be done. */
  get gone(): boolean {
    return this.#guest.forgotten === 'now';
  }

  /** Something of the node failed for it, and it waits to try again. */
  get stumbled(): boolean {
    return this.#failures > 0;
  }

  /** Called beside the worker, so that a start which is no longer wanted is not waited for; the wish itself comes by mail. */
  interrupt(wish: GuestRequest = this.#guest.wish): void {
    this.#guest.interrupt(wish);
  }

  /** The agent ends: no timer, no check goes on. The guest does. */
  release(): void {
    this.#cancelTimer?.();
    this.#guest.watch.stop();
  }

  async work(batch: Batch<GuestNews, GuestRequest>): Promise<void> {
    if (this.gone) return;
    for (const news of batch.events) this.#absorb(news);
    for (const wish of batch.requests) {
      this.#wished = true;
      this.#guest.wish = wish;
    }
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    try {
      await this.#converge();
      this.#failures = 0;
    } catch (thrown) {
      this.#stumble(thrown);
    }
  }

  #absorb(news: GuestNews): void {
    if (news.type === 'health') this.#guest.watch.absorb(news.run, news.news);
    if (news.type === 'health' || news.type === 'wake') return;
    this.#guest.have = undefined;
    if (news.type === 'exited') this.#guest.heardExit = news.exit;
    if (news.type === 'oom') this.#guest.journal.event('warning', 'OutOfMemory', news.message);
    if (news.type === 'paused') this.#guest.journal.event('warning', 'Paused', news.message);
    if (news.type === 'resumed') this.#guest.journal.event('normal', 'Resumed', news.message);
  }

  async #converge(): Promise<void> {
    for (let i = 0; i < MAX_ACTIONS; i++) {
      if (this.#context.ending.aborted || this.gone || !this.#wished) return;
      const { record } = this.#guest.journal;
      const runtime = await this.#engineOrReason();
      if (!runtime) return;
      this.#guest.have ??= await runtime.recover(this.uid, this.#context.ending);
      if (i > 0 && this.#context.hasMail(this.uid)) return; // newer facts first; the worker comes back at once
      const action = decide({
        want: this.#want(),
        record,
        have: this.#guest.have,
        attachedKey: this.#guest.attachedKey,
        heardExit: this.#guest.heardExit,
        unhealthy: this.#guest.isPaused ? undefined : this.#guest.watch.unhealthy,
        hold: this.#guest.wish.hold,
        nowMs: this.#context.clock.nowMs(),
        pauseLeftMs: this.#guest.journal.pauseLeftMs(this.#context.backoff.capMs),
      });
      if (action.do === 'none') return this.#settled();
      if (action.do === 'wait') return this.#wait(action.delayMs);
      await this.#perform(action, runtime);
    }
    throw new SkerryError('internal', `${this.record.name} does not come to rest`);
  }

  async #perform(action: Exclude<Action, { do: 'none' | 'wait' }>, runtime: Runtime): Promise<void> {
    const guest = this.#guest;
    switch (action.do) {
      case 'judge':
        return guest.judge(action.exit);
      case 'adopt':
        return guest.adopt();
      case 'start':
        return guest.start();
      case 'reattach':
        return guest.reattach();
      case 'end':
        return guest.end(runtime, action);
      case 'clear':
        return guest.clear(runtime);
      case 'rest':
        return guest.rest(runtime, action.phase);
      case 'delete':
        return guest.delete(runtime);
    }
  }

  #want(): Want | undefined {
    const desired = this.#guest.wish.desired;
    if (!desired || desired.deleted) return undefined;
    const request = attachRequestOf(desired);
    const withheld = this.#context.leases.withheld(desired);
    return {
      ...(withheld !== undefined && { withheld }),
      run: desired.spec.run,
      runtime: desired.spec.template.runtime,
      incarnation: incarnationOf(desired),
      restarts: desired.spec.restarts,
      attachKey: request ? JSON.stringify(request) : '',
    };
  }

  /** The runtime that has the guest, if its engine works; else the reason is shown and the engine's return is awaited. */
  async #engineOrReason(): Promise<Runtime | undefined> {
    const { record } = this.#guest.journal;
    const template = this.#guest.wish.desired?.spec.template.runtime ?? record.runtime;
    // without a guest of the old kind there is nothing to ask the old runtime for
    if (record.life === 'none' && record.runtime !== template) this.#guest.journal.set({ runtime: template });
    const engine = this.#context.engine(record.runtime);
    if (engine?.up) return engine.runtime;
    if (engine && !engine.tried) return undefined; // its first news wakes us
    if (!engine) {
      await this.#withoutRuntime();
      return undefined;
    }
    const shows = record.phase !== 'stopped' && record.phase !== 'failed' && record.phase !== 'backoff';
    if (shows && record.reason !== engine.trouble) this.#guest.journal.set({ reason: engine.trouble! });
    return undefined;
  }

  /** A kind of guest that this node does not know: there can be none of it here. */
  async #withoutRuntime(): Promise<void> {
    if (!this.#want()) return this.#guest.forget();
    const reason = `this node has no runtime ${this.record.runtime}`;
    this.#guest.journal.move('failed', { reason, observedGeneration: this.#guest.wish.desired!.generation });
  }

  #settled(): void {
    const { record } = this.#guest.journal;
    const desired = this.#guest.wish.desired;
    const withheld = this.#want()?.withheld;
    if (withheld !== undefined && record.reason !== withheld) this.#guest.journal.set({ reason: withheld });
    if (!this.#guest.wish.hold && desired && record.observedGeneration !== desired.generation) {
      this.#guest.journal.set({ observedGeneration: desired.generation });
    }
    if (this.#guest.have?.state !== 'running' || desired?.spec.run !== 'running') return;
    this.#context.leases.guard(desired, this.#guest.have.pid);
    // it runs, whatever the record says: an agent died on the way, or a wish was taken back
    if (record.phase !== 'running' && record.phase !== 'starting')
      this.#guest.journal.move('starting', { ready: false });
    if (record.phase === 'starting' && !this.#guest.watch.checked(desired))
      this.#guest.journal.move('running', { ready: true });
    this.#tellPause();
    this.#tellAddresses();
    if (this.#guest.isPaused) this.#guest.watch.stop();
    else this.#guest.watch.follow(desired);
  }

  /** Why it holds still, for as long as it does. */
  #tellPause(): void {
    const { record } = this.#guest.journal;
    if (record.phase !== 'running') return;
    const have = this.#guest.have;
    const why = have?.state === 'running' && have.paused ? PAUSED[have.paused.why] : undefined;
    if (why !== undefined && record.reason !== why) this.#guest.journal.set({ reason: why });
    else if (why === undefined && record.reason !== undefined) this.#guest.journal.clear('reason');
  }

  #tellAddresses(): void {
    const { journal, have } = this.#guest;
    const known = have?.state === 'running' ? have.addresses : undefined;
    if (JSON.stringify(journal.record.guestAddresses) === JSON.stringify(known)) return;
    if (known) journal.set({ guestAddresses: known });
    else journal.clear('guestAddresses');
  }

  #wait(delayMs: number): void {
    this.#settled();
    this.#wakeIn(delayMs);
  }

  #wakeIn(delayMs: number): void {
    this.#cancelTimer = this.#context.clock.after(delayMs, () =>
      this.#context.tell(this.uid, { type: 'wake' }),
    );
  }

  /** Something of the node failed, not the guest: shown, and tried again. */
  #stumble(thrown: unknown): void {
    if (this.#context.ending.aborted) return;
    const error = asSkerryError(thrown);
    this.#guest.have = undefined;
    const next = backoffAfter(this.#context.backoff, this.#failures, 0, this.#context.random);
    this.#failures = next.failures;
    this.#context.logger.warn(
      { err: error, instance: this.record.name, retryInMs: next.delayMs },
      'will be tried again',
    );
    if (this.record.reason !== error.message) this.#guest.journal.set({ reason: error.message });
    this.#wakeIn(next.delayMs);
  }
}
