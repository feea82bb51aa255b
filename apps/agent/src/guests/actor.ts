/**
 * One instance, one writer: takes its mail, asks `decide` what is next, performs it, and asks again until there is
 * nothing to do. It trusts no event about the guest's state: an event makes it look (`recover`), what it sees counts.
 *
 *   mail (host news, then wishes) -> look -> decide -> perform -> decide … -> none | wait (one timer)
 */
import type { AgentEvent, DesiredInstance } from '@skerry/contract';
import {
  asSkerryError,
  type ErrorCode,
  formatMillis,
  type GuestExit,
  type Id,
  type Millis,
  type RuntimeKind,
  SkerryError,
} from '@skerry/model';
import type { AttachRequest } from '@skerry/network';
import { afterExit, type Batch, backoffAfter } from '@skerry/reconcile';
import type { GuestState, Runtime } from '@skerry/runtimes';
import type { InstanceRecord } from '../ledger/record.ts';
import { applySteps } from './apply.ts';
import type { ActorContext, GuestNews, GuestRequest } from './context.ts';
import { type Action, decide, type Want } from './decide.ts';
import { Journal } from './journal.ts';
import { CLEAR, type NodeStep, planStart } from './plan.ts';
import { attachRequestOf, incarnationOf, restartPolicyOf, stopGraceOf } from './resolve.ts';
import { Watch } from './watch.ts';

/** More actions than any way through the phases needs: beyond it something goes round in circles. */
const MAX_ACTIONS = 24;

/** The node failed, not the guest: its ends are not charged with it, and its policy is not asked. */
const NODE_FAILURES: ReadonlySet<ErrorCode> = new Set([
  'engine_unavailable',
  'unavailable',
  'store_full',
  'store_corrupt',
  'store_locked',
]);

export class GuestActor {
  readonly uid: Id<'instance'>;
  readonly #context: ActorContext;
  readonly #journal: Journal;
  readonly #watch: Watch;
  /** Without a wish nothing is done to the guest. */
  #wished = false;
  #desired: DesiredInstance | undefined;
  #hold = false;
  #graceMs: Millis | undefined;
  #have: GuestState | undefined;
  #heardExit: GuestExit | undefined;
  #cancelTimer: (() => void) | undefined;
  /** A start that is under way; aborted when it is no longer wanted. */
  #start: { readonly incarnation: string; readonly cancel: AbortController } | undefined;
  #failures = 0;
  #forgetting = false;
  #gone = false;
  /** The record knows of no attachment, and yet there may be one. */
  #attachUnsure: boolean;

  /** `found`: it is from the ledger, and its record may be older than what an agent that died did last. */
  constructor(context: ActorContext, record: InstanceRecord, found: boolean) {
    this.#context = context;
    this.#attachUnsure = found && record.attach === undefined;
    this.uid = record.uid;
    this.#journal = new Journal({
      record,
      nowMs: () => context.clock.nowMs(),
      changed: (changed) => {
        context.records.save(changed);
        const passing = changed.phase === 'starting' || changed.phase === 'stopping';
        context.reportPresent(changed.uid, passing);
      },
      acknowledged: (changed) => context.records.save(changed),
    });
    this.#watch = new Watch(context, this.#journal);
  }

  get record(): Readonly<InstanceRecord> {
    return this.#journal.record;
  }

  get runtime(): Runtime | undefined {
    return this.#context.engine(this.record.runtime)?.runtime;
  }

  get address(): string | undefined {
    return this.#desired?.spec.network?.address;
  }

  /** The kinds of runtime whose state matters to it. */
  concerns(kind: RuntimeKind): boolean {
    return this.record.runtime === kind || this.#desired?.spec.template.runtime === kind;
  }

  acknowledge(events: readonly AgentEvent[]): void {
    if (!this.#forgetting) this.#journal.acknowledge(events);
  }

  /** Tells people something about this instance that is not its own doing. */
  note(reason: string, message: string): void {
    this.#journal.event('warning', reason, message);
    this.#journal.set({ reason: message });
  }

  /** Nothing of it is left on the node, in the ledger, or to be done. */
  get gone(): boolean {
    return this.#gone;
  }

  /** Cuts a start short that the new wish has no use for. Called beside the worker; the wish itself comes by mail. */
  interrupt(wish: GuestRequest): void {
    const { desired } = wish;
    const useful =
      desired !== undefined &&
      !desired.deleted &&
      desired.spec.run === 'running' &&
      incarnationOf(desired) === this.#start?.incarnation;
    if (!useful) this.#start?.cancel.abort(new SkerryError('cancelled', 'the start is no longer wanted'));
  }

  /** The agent ends: no timer, no check goes on. The guest does. */
  release(): void {
    this.#cancelTimer?.();
    this.#watch.stop();
  }

  async work(batch: Batch<GuestNews, GuestRequest>): Promise<void> {
    if (this.#gone) return;
    for (const news of batch.events) this.#absorb(news);
    for (const wish of batch.requests) {
      this.#wished = true;
      this.#desired = wish.desired;
      this.#hold = wish.hold;
      this.#graceMs = wish.graceMs;
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
    if (news.type === 'health') this.#watch.absorb(news.run, news.news);
    if (news.type === 'health' || news.type === 'wake') return;
    this.#have = undefined;
    if (news.type === 'exited') this.#heardExit = news.exit;
    if (news.type === 'oom') this.#journal.event('warning', 'OutOfMemory', news.message);
  }

  async #converge(): Promise<void> {
    for (let i = 0; i < MAX_ACTIONS; i++) {
      if (this.#context.ending.aborted || this.#gone || !this.#wished) return;
      const { record } = this.#journal;
      const runtime = await this.#engineOrReason();
      if (!runtime) return;
      this.#have ??= await runtime.recover(this.uid, this.#context.ending);
      if (i > 0 && this.#context.hasMail(this.uid)) return; // newer facts first; the worker comes back at once
      const action = decide({
        want: this.#want(),
        record,
        have: this.#have,
        attachedKey: this.#attachedKey,
        heardExit: this.#heardExit,
        unhealthy: this.#watch.unhealthy,
        hold: this.#hold,
        nowMs: this.#context.clock.nowMs(),
      });
      if (action.do === 'none') return this.#settled();
      if (action.do === 'wait') return this.#wait(action.delayMs);
      await this.#perform(action, runtime);
    }
    throw new SkerryError('internal', `${this.record.name} does not come to rest`);
  }

  async #perform(action: Exclude<Action, { do: 'none' | 'wait' }>, runtime: Runtime): Promise<void> {
    switch (action.do) {
      case 'judge':
        return this.#judge(action.exit);
      case 'adopt':
        return this.#adopt();
      case 'start':
        return this.#startGuest();
      case 'reattach':
        return this.#reattach();
      case 'end':
        return this.#end(runtime, action);
      case 'clear':
        await this.#apply(runtime, CLEAR);
        return;
      case 'rest':
        return this.#rest(action.phase);
      case 'delete':
        return this.#delete(runtime);
    }
  }

  get #attachedKey(): string {
    if (this.#attachUnsure) return 'unsure';
    return this.record.attach ? JSON.stringify(this.record.attach) : '';
  }

  #attached(request: AttachRequest | undefined): void {
    this.#attachUnsure = false;
    if (request) this.#journal.set({ attach: request });
    else if (this.record.attach) this.#journal.clear('attach');
  }

  #want(): Want | undefined {
    const desired = this.#desired;
    if (!desired || desired.deleted) return undefined;
    const request = attachRequestOf(desired);
    return {
      run: desired.spec.run,
      runtime: desired.spec.template.runtime,
      incarnation: incarnationOf(desired),
      restarts: desired.spec.restarts,
      attachKey: request ? JSON.stringify(request) : '',
    };
  }

  /** The runtime that has the guest, if its engine works; else the reason is shown and the engine's return is awaited. */
  async #engineOrReason(): Promise<Runtime | undefined> {
    const { record } = this.#journal;
    const template = this.#desired?.spec.template.runtime ?? record.runtime;
    // without a guest of the old kind there is nothing to ask the old runtime for
    if (record.life === 'none' && record.runtime !== template) this.#journal.set({ runtime: template });
    const engine = this.#context.engine(record.runtime);
    if (engine?.up) return engine.runtime;
    if (engine && !engine.tried) return undefined; // its first news wakes us
    if (!engine) {
      await this.#withoutRuntime();
      return undefined;
    }
    const shows = record.phase !== 'stopped' && record.phase !== 'failed' && record.phase !== 'backoff';
    if (shows && record.reason !== engine.trouble) this.#journal.set({ reason: engine.trouble! });
    return undefined;
  }

  /** A kind of guest that this node does not know: there can be none of it here. */
  async #withoutRuntime(): Promise<void> {
    if (!this.#want()) return this.#forget();
    const reason = `this node has no runtime ${this.record.runtime}`;
    this.#journal.move('failed', { reason, observedGeneration: this.#desired!.generation });
  }

  #settled(): void {
    const { record } = this.#journal;
    const desired = this.#desired;
    if (!this.#hold && desired && record.observedGeneration !== desired.generation) {
      this.#journal.set({ observedGeneration: desired.generation });
    }
    if (this.#have?.state !== 'running' || desired?.spec.run !== 'running') return;
    // it runs, whatever the record says: an agent died on the way, or a wish was taken back
    if (record.phase !== 'running' && record.phase !== 'starting')
      this.#journal.move('starting', { ready: false });
    if (record.phase === 'starting' && !this.#watch.checked(desired))
      this.#journal.move('running', { ready: true });
    if (record.phase === 'running' && record.reason !== undefined) this.#journal.clear('reason');
    this.#watch.follow(desired);
  }

  #wait(delayMs: number): void {
    this.#settled();
    // a clock that was set must not turn a pause of a minute into years
    const bounded = Math.min(delayMs, this.#context.backoff.capMs);
    this.#wakeIn(bounded);
  }

  #wakeIn(delayMs: number): void {
    this.#cancelTimer = this.#context.clock.after(delayMs, () =>
      this.#context.tell(this.uid, { type: 'wake' }),
    );
  }

  #judge(exit: GuestExit): void {
    this.#watch.stop();
    this.#heardExit = undefined;
    const desired = this.#desired;
    const wanted = desired !== undefined && !desired.deleted && desired.spec.run === 'running';
    if (!wanted) {
      this.#journal.judge(exit, 'stop', this.#context.backoff, this.#context.random);
      this.#journal.set({ verdict: 'start' });
      return;
    }
    // it was stopped for a wish that has changed since: start it as if nothing had been
    const stopped = exit.reason === 'stopped' || exit.reason === 'killed';
    const decision = stopped ? 'again' : afterExit(restartPolicyOf(desired.spec.template), exit.reason);
    this.#journal.judge(exit, decision, this.#context.backoff, this.#context.random);
  }

  /** A guest that runs already: taken over as it is. */
  #adopt(): void {
    const have = this.#have!;
    if (have.state !== 'running') return;
    const { incarnation, pid, startedAtMs } = have;
    this.#journal.set({ life: 'up', incarnation, pid, startedAtMs, ready: false });
  }

  async #startGuest(): Promise<void> {
    const desired = this.#desired!;
    const { starts, ending, networkService } = this.#context;
    if (attachRequestOf(desired) && networkService.trouble !== undefined) {
      throw new SkerryError('unavailable', networkService.trouble);
    }
    const cancel = new AbortController();
    this.#start = { incarnation: incarnationOf(desired), cancel };
    const signal = AbortSignal.any([cancel.signal, ending]);
    try {
      await starts.run(() => this.#startNow(desired, signal), signal);
    } catch (thrown) {
      const error = asSkerryError(thrown);
      this.#have = undefined;
      if (ending.aborted || cancel.signal.aborted) return; // the next look sees what is there
      if (NODE_FAILURES.has(error.code)) throw error;
      this.#judge({ reason: 'start-failed', message: error.message, atMs: this.#context.clock.nowMs() });
    } finally {
      this.#start = undefined;
    }
  }

  async #startNow(desired: DesiredInstance, signal: AbortSignal): Promise<void> {
    const { clock } = this.#context;
    const { template, restarts } = desired.spec;
    const beganMs = clock.monotonicMs();
    const incarnation = incarnationOf(desired);
    if (this.record.incarnation !== incarnation) this.#journal.set({ failures: 0 });
    this.#journal.clear('pid', 'startMs', 'readyMs', 'startedAtMs', 'nextTryAtMs');
    const engine = this.#context.engine(template.runtime);
    if (!engine) throw new SkerryError('unsupported', `this node has no runtime ${template.runtime}`);
    if (!engine.up) throw new SkerryError('engine_unavailable', engine.trouble!);
    const { runtime } = engine;
    const madeBefore = this.#have?.state === 'created' && this.record.life === 'down';
    this.#journal.move('starting', {
      ...{ life: 'starting', runtime: template.runtime, incarnation, restartsSeen: restarts },
      ...{ observedGeneration: desired.generation, ready: false, health: 'unknown' },
    });
    if (this.record.exits.length > 0) await this.#context.records.flush(); // the reason must outlive the old guest
    // what failed to start once is not trusted to be whole
    if (madeBefore) this.#have = await runtime.apply({ do: 'remove', uid: this.uid }, signal);
    const state = await this.#apply(runtime, planStart(desired), signal);
    const startMs = clock.monotonicMs() - beganMs;
    const startedAtMs = state.state === 'running' ? state.startedAtMs : clock.nowMs();
    this.#journal.set({
      life: 'up',
      startMs,
      startedAtMs,
      ...(state.state === 'running' && { pid: state.pid }),
    });
    const [last] = this.record.exits;
    if (last)
      this.#journal.event(
        'normal',
        'Restarted',
        `started again in ${formatMillis(startMs)}, after: ${last.message}`,
      );
    else this.#journal.event('normal', 'Started', `started in ${formatMillis(startMs)}`);
    if (state.state !== 'running') return;
    if (this.#watch.checked(desired)) this.#watch.begin(desired, beganMs);
    else this.#journal.move('running', { ready: true });
  }

  async #reattach(): Promise<void> {
    const request = attachRequestOf(this.#desired!);
    const { network } = this.#context.parts;
    if (request) {
      this.#attached(request);
      await network.attach(request, this.#context.ending);
    } else {
      await network.detach(this.uid, this.#context.ending);
      this.#attached(undefined);
    }
  }

  async #end(runtime: Runtime, action: Extract<Action, { do: 'end' }>): Promise<void> {
    this.#watch.stop();
    if (action.reason === 'unhealthy') this.#journal.set({ health: 'unhealthy', reason: action.why });
    else this.#journal.move('stopping', { reason: action.why });
    if (action.reason === 'stopped') this.#journal.set({ observedGeneration: this.#desired!.generation });
    const state = await this.#stop(runtime);
    this.#have = state;
    const exit = state.state === 'exited' ? state.exit : undefined;
    const forced = exit?.reason === 'killed';
    const own = exit && (forced || exit.reason === 'stopped');
    const reason = action.reason === 'stopped' ? (own ? exit.reason : 'stopped') : action.reason;
    const message = forced ? `${action.why}; it did not end by itself and was forced` : action.why;
    const { code, signal } = exit ?? {};
    const atMs = this.#context.clock.nowMs();
    const known = { ...(code !== undefined && { code }), ...(signal !== undefined && { signal }) };
    this.#judge({ reason, message, atMs, ...known });
  }

  #stop(runtime: Runtime): Promise<GuestState> {
    const { stops, ending } = this.#context;
    const step = { do: 'stop', uid: this.uid, graceMs: this.#grace() } as const;
    return stops.run(() => runtime.apply(step, ending), ending);
  }

  #grace(): Millis {
    return this.#graceMs ?? (this.#desired ? stopGraceOf(this.#desired.spec.template) : (2000 as Millis));
  }

  /** Comes to rest: nothing of it is on the network, its log can still be read. */
  async #rest(phase: 'stopped' | 'failed'): Promise<void> {
    if (this.#attachedKey !== '') await this.#apply(this.runtime!, [{ do: 'detach' }]);
    const { reason } = this.record;
    const generation = this.#hold ? this.record.observedGeneration : (this.#desired?.generation ?? 0);
    this.#journal.move(phase, { reason, observedGeneration: generation });
    if (this.#desired?.spec.run === 'stopped') this.#journal.set({ verdict: 'start' });
  }

  async #delete(runtime: Runtime): Promise<void> {
    const { record } = this.#journal;
    this.#watch.stop();
    const nothing = record.life === 'none' && this.#have!.state === 'absent';
    if (!nothing) this.#journal.move('stopping', { reason: 'it is being deleted' });
    if (this.#have!.state === 'running') this.#have = await this.#stop(runtime);
    await this.#apply(runtime, [{ do: 'guest-gone' }]);
    await this.#forget();
  }

  async #forget(): Promise<void> {
    if (this.#attachedKey !== '') await this.#context.parts.network.detach(this.uid, this.#context.ending);
    this.#forgetting = true; // an acknowledgement that comes now must not write the record again
    try {
      await this.#context.records.remove(this.uid);
    } catch (thrown) {
      this.#forgetting = false;
      throw thrown;
    }
    this.#gone = true;
    this.#context.reportAbsent(this.uid);
  }

  async #apply(runtime: Runtime, steps: readonly NodeStep[], signal?: AbortSignal): Promise<GuestState> {
    const { parts, ending } = this.#context;
    const state = await applySteps(steps, parts, {
      ...{ uid: this.uid, project: this.record.project, runtime, have: this.#have!, graceMs: this.#grace() },
      signal: signal ?? ending,
      abandon: ending,
      attached: (request) => this.#attached(request),
      imageSeen: (facts) => this.#journal.set({ imageKind: facts.kind }),
    });
    this.#have = state;
    return state;
  }

  /** Something of the node failed, not the guest: shown, and tried again. */
  #stumble(thrown: unknown): void {
    if (this.#context.ending.aborted) return;
    const error = asSkerryError(thrown);
    this.#have = undefined;
    const next = backoffAfter(this.#context.backoff, this.#failures, 0, this.#context.random);
    this.#failures = next.failures;
    this.#context.logger.warn(
      { err: error, instance: this.record.name, retryInMs: next.delayMs },
      'will be tried again',
    );
    if (this.record.reason !== error.message) this.#journal.set({ reason: error.message });
    this.#wakeIn(next.delayMs);
  }
}
