/**
 * All instances of the node: an actor each, and the queue that gives every actor its mail one after the other.
 * It turns a desired state into one wish per instance; what is not in it is wished away.
 */
import type { DesiredState } from '@skerry/contract';
import { asSkerryError, type Id, type RuntimeKind } from '@skerry/model';
import { WorkQueue } from '@skerry/reconcile';
import { GuestActor } from '../guests/actor.ts';
import type { ActorContext, GuestNews, GuestRequest } from '../guests/context.ts';
import { type InstanceRecord, newRecord } from '../ledger/record.ts';

type Uid = Id<'instance'>;

export class GuestTable {
  readonly #context: ActorContext;
  readonly #actors = new Map<Uid, GuestActor>();
  readonly #queue: WorkQueue<Uid, GuestNews, GuestRequest>;
  /** Gone from the node, and still in the desired state: they are told of again, not looked for again. */
  readonly #gone = new Set<Uid>();
  #onEmpty: (() => void)[] = [];
  /** Until the first wishes, which are from the ledger: what they name may have been begun by an agent that died. */
  #beginning = true;

  constructor(context: Omit<ActorContext, 'tell' | 'hasMail'>) {
    this.#queue = new WorkQueue({
      work: async (uid, batch) => {
        const actor = this.#actors.get(uid);
        await actor?.work(batch);
        if (actor?.gone) this.#forget(actor);
      },
      onError: (uid, thrown) =>
        context.logger.error({ err: asSkerryError(thrown), uid }, 'an actor made a mistake'),
    });
    this.#context = {
      ...context,
      tell: (uid, news) => this.tell(uid, news),
      hasMail: (uid) => this.#queue.waiting(uid),
    };
  }

  load(records: readonly InstanceRecord[]): void {
    for (const record of records) this.#actors.set(record.uid, new GuestActor(this.#context, record, true));
  }

  get(uid: Uid): GuestActor | undefined {
    return this.#actors.get(uid);
  }

  /** The wishes from the ledger have been told. */
  begun(): void {
    this.#beginning = false;
  }

  all(): GuestActor[] {
    return [...this.#actors.values()];
  }

  /** `partial`: instances that `state` does not have are left alone. */
  wish(state: DesiredState, options: { readonly hold: boolean; readonly partial: boolean }): void {
    const named = new Set<Uid>();
    for (const desired of state.instances) {
      named.add(desired.uid);
      if (desired.deleted && this.#gone.has(desired.uid)) this.#context.reportAbsent(desired.uid);
      else this.#wish(this.actorFor(desired), { desired, hold: options.hold });
    }
    for (const uid of this.#gone) if (!named.has(uid)) this.#gone.delete(uid);
    if (options.partial) return;
    for (const actor of this.#actors.values()) {
      if (!named.has(actor.uid)) this.#wish(actor, { desired: undefined, hold: options.hold });
    }
  }

  /** All guests are to be gone; resolves when they are, or when `signal` is aborted. */
  async clear(graceMs: GuestRequest['graceMs'], signal: AbortSignal): Promise<void> {
    for (const actor of this.#actors.values()) {
      this.#wish(actor, { desired: undefined, hold: false, ...(graceMs !== undefined && { graceMs }) });
    }
    if (this.#actors.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#onEmpty.push(resolve);
      signal.addEventListener('abort', () => resolve(), { once: true });
      if (signal.aborted) resolve();
    });
  }

  tell(uid: Uid, news: GuestNews): void {
    if (this.#actors.has(uid)) this.#queue.event(uid, news);
  }

  /** The controller is there again: what failed without it is tried at once. */
  tryAgain(): void {
    for (const actor of this.#actors.values()) if (actor.stumbled) this.tell(actor.uid, { type: 'wake' });
  }

  /** A start that it may not go on with is cut short; the rest is its actor's. */
  leaseChanged(uid: Uid): void {
    this.#actors.get(uid)?.interrupt();
    this.tell(uid, { type: 'wake' });
  }

  tellKind(kind: RuntimeKind, news: GuestNews): void {
    for (const actor of this.#actors.values()) if (actor.concerns(kind)) this.#queue.event(actor.uid, news);
  }

  tellAll(news: GuestNews): void {
    for (const uid of this.#actors.keys()) this.#queue.event(uid, news);
  }

  actorFor(of: DesiredState['instances'][number]): GuestActor {
    let actor = this.#actors.get(of.uid);
    if (!actor) {
      const record = newRecord({ ...of, runtime: of.spec.template.runtime });
      actor = new GuestActor(this.#context, record, this.#beginning);
      this.#actors.set(of.uid, actor);
    }
    return actor;
  }

  /** Resolves when no actor has mail or works. */
  idle(): Promise<void> {
    return this.#queue.idle();
  }

  /** Guests stay as they are; resolves when the last actor has put down its tools. */
  async close(): Promise<void> {
    for (const actor of this.#actors.values()) actor.release();
    await this.#queue.close();
    for (const actor of this.#actors.values()) actor.release();
  }

  #wish(actor: GuestActor, wish: GuestRequest): void {
    actor.interrupt(wish);
    this.#queue.request(actor.uid, 'wish', wish);
  }

  #forget(actor: GuestActor): void {
    this.#actors.delete(actor.uid);
    this.#gone.add(actor.uid);
    this.#context.leases.gone(actor.uid);
    actor.release();
    if (this.#actors.size > 0) return;
    for (const resolve of this.#onEmpty) resolve();
    this.#onEmpty = [];
  }
}
