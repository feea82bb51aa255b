/**
 * One guest on this node: what is known of it, and what can be done to it. It decides nothing and never works by itself:
 * its actor calls one verb at a time.
 */
import type { DesiredInstance } from '@skerry/contract';
import {
  asSkerryError,
  type ErrorCode,
  formatMillis,
  type GuestExit,
  type Id,
  type Millis,
  SkerryError,
} from '@skerry/model';
import type { AttachRequest } from '@skerry/network';
import { afterExit } from '@skerry/reconcile';
import type { GuestState, Runtime } from '@skerry/runtimes';
import type { InstanceRecord } from '../ledger/record.ts';
import { applySteps } from './apply.ts';
import type { ActorContext, GuestRequest } from './context.ts';
import type { Action } from './decide.ts';
import { Journal } from './journal.ts';
import { CLEAR, type NodeStep, planStart } from './plan.ts';
import { attachRequestOf, incarnationOf, isLasting, restartPolicyOf, stopGraceOf } from './resolve.ts';
import { Watch } from './watch.ts';

/** The node failed, not the guest: its ends are not charged with it, and its policy is not asked. */
const NODE_FAILURES: ReadonlySet<ErrorCode> = new Set([
  'engine_unavailable',
  'unavailable',
  'store_full',
  'store_corrupt',
  'store_locked',
]);

export class Guest {
  readonly uid: Id<'instance'>;
  readonly journal: Journal;
  readonly watch: Watch;
  readonly #context: ActorContext;
  wish: GuestRequest = { desired: undefined, hold: false };
  /** What the runtime said last; undefined: look again. */
  have: GuestState | undefined;
  /** What the runtime told of an end, for when nothing is left to look at. */
  heardExit: GuestExit | undefined;
  /** `now`: nothing of it is left on the node, in the ledger, or to be done. */
  forgotten: 'soon' | 'now' | undefined;
  /** A start that is under way; aborted when it is no longer wanted. */
  #start: { readonly incarnation: string; readonly cancel: AbortController } | undefined;
  /** The record knows of no attachment, and yet there may be one. */
  #attachUnsure: boolean;

  /** `found`: it is from the ledger, and its record may be older than what an agent that died did last. */
  constructor(context: ActorContext, record: InstanceRecord, found: boolean) {
    this.#context = context;
    this.#attachUnsure = found && record.attach === undefined;
    this.uid = record.uid;
    this.journal = new Journal({
      record,
      clock: context.clock,
      changed: (changed) => {
        context.records.save(changed);
        const passing = changed.phase === 'starting' || changed.phase === 'stopping';
        context.reportPresent(changed.uid, passing);
      },
      acknowledged: (changed) => context.records.save(changed),
    });
    this.watch = new Watch(context, this.journal);
  }

  /** It holds still and answers no health check: that is no fault of it. */
  get isPaused(): boolean {
    return this.have?.state === 'running' && this.have.paused !== undefined;
  }

  get record(): Readonly<InstanceRecord> {
    return this.journal.record;
  }

  /** Cuts a start short that this wish has no use for; the only call that comes beside a verb. */
  interrupt(wish: GuestRequest): void {
    const { desired } = wish;
    const wanted = desired !== undefined && !desired.deleted && desired.spec.run === 'running';
    const mayRun = wanted && this.#context.leases.withheld(desired) === undefined;
    if (mayRun && incarnationOf(desired) === this.#start?.incarnation) return;
    this.#start?.cancel.abort(new SkerryError('cancelled', 'the start is no longer wanted'));
  }

  get attachedKey(): string {
    if (this.#attachUnsure) return 'unsure';
    return this.record.attach ? JSON.stringify(this.record.attach) : '';
  }

  #attached(request: AttachRequest | undefined): void {
    this.#attachUnsure = false;
    if (request) this.journal.set({ attach: request });
    else if (this.record.attach) this.journal.clear('attach');
  }

  /** An end and what follows from it; called once for each end. */
  judge(exit: GuestExit): void {
    this.watch.stop();
    this.heardExit = undefined;
    const desired = this.wish.desired;
    const wanted = desired !== undefined && !desired.deleted && desired.spec.run === 'running';
    if (!wanted) {
      this.journal.judge(exit, 'stop', this.#context.backoff, this.#context.random);
      this.journal.set({ verdict: 'start' });
      return;
    }
    // it was stopped for a wish that has changed since: start it as if nothing had been
    const withheld = this.#context.leases.withheld(desired) !== undefined; // whatever ended it, its lease had
    const stopped = exit.reason === 'stopped' || exit.reason === 'killed' || withheld;
    const decision = stopped ? 'again' : afterExit(restartPolicyOf(desired.spec.template), exit.reason);
    this.journal.judge(exit, decision, this.#context.backoff, this.#context.random);
  }

  /** A guest that runs already: taken over as it is. */
  adopt(): void {
    const have = this.have!;
    if (have.state !== 'running') return;
    const { incarnation, pid, startedAtMs } = have;
    this.journal.set({ life: 'up', incarnation, pid, startedAtMs, ready: false });
  }

  /** Makes and starts the guest when it is its turn; a failure of the guest is judged, one of the node is thrown. */
  async start(): Promise<void> {
    const desired = this.wish.desired!;
    const { starts, ending, networkService, duringStart } = this.#context;
    if (attachRequestOf(desired) && networkService.trouble !== undefined) {
      throw new SkerryError('unavailable', networkService.trouble);
    }
    const cancel = new AbortController();
    this.#start = { incarnation: incarnationOf(desired), cancel };
    const signal = AbortSignal.any([cancel.signal, ending]);
    try {
      await starts.run(async () => {
        const over = duringStart();
        await this.#startNow(desired, signal).finally(over);
      }, signal);
    } catch (thrown) {
      const error = asSkerryError(thrown);
      this.have = undefined;
      if (ending.aborted || cancel.signal.aborted) return; // the next look sees what is there
      if (NODE_FAILURES.has(error.code)) throw error;
      this.judge({ reason: 'start-failed', message: error.message, atMs: this.#context.clock.nowMs() });
    } finally {
      this.#start = undefined;
    }
  }

  async #startNow(desired: DesiredInstance, signal: AbortSignal): Promise<void> {
    const { clock } = this.#context;
    const { template, restarts } = desired.spec;
    const beganMs = clock.monotonicMs();
    const incarnation = incarnationOf(desired);
    const engine = this.#context.engine(template.runtime);
    if (engine && !engine.up) throw new SkerryError('engine_unavailable', engine.trouble!);
    if (this.record.incarnation !== incarnation) this.journal.set({ failures: 0, incarnation });
    this.journal.clear('pid', 'startMs', 'readyMs', 'startedAtMs', 'nextTryAtMs');
    if (!engine) throw new SkerryError('unsupported', `this node has no runtime ${template.runtime}`);
    const { runtime } = engine;
    const madeBefore = this.have?.state === 'created' && this.record.life === 'down';
    this.journal.move('starting', {
      ...{ life: 'starting', runtime: template.runtime, incarnation, restartsSeen: restarts },
      ...{ observedGeneration: desired.generation, ready: false, health: 'unknown' },
    });
    if (this.record.exits.length > 0) await this.#context.records.flush(); // the reason must outlive the old guest
    await this.#keepLog(runtime, signal);
    // what failed to start once is not trusted to be whole
    if (madeBefore && !isLasting(template))
      this.have = await runtime.apply({ do: 'remove', uid: this.uid }, signal);
    const state = await this.#apply(runtime, planStart(desired), signal);
    const startMs = clock.monotonicMs() - beganMs;
    const startedAtMs = state.state === 'running' ? state.startedAtMs : clock.nowMs();
    this.journal.set({
      life: 'up',
      startMs,
      startedAtMs,
      ...(state.state === 'running' && { pid: state.pid }),
    });
    this.journal.beginRun();
    this.#tellStarted(startMs);
    if (state.state !== 'running') return;
    if (this.watch.checked(desired)) this.watch.begin(desired, beganMs);
    else this.journal.move('running', { ready: true });
  }

  /** For `logs --previous`, which is not worth a start. */
  async #keepLog(runtime: Runtime, signal: AbortSignal): Promise<void> {
    if (this.have?.state !== 'exited') return;
    try {
      await this.#context.previousLogs?.keep(runtime, this.uid, String(this.record.judgedAtMs), signal);
    } catch (thrown) {
      signal.throwIfAborted();
      const { logger } = this.#context;
      logger.warn({ err: asSkerryError(thrown), uid: this.uid }, 'the log of the run before is not kept');
    }
  }

  #tellStarted(startMs: number): void {
    const [last] = this.record.exits;
    const took = formatMillis(startMs);
    if (last) this.journal.event('normal', 'Restarted', `started again in ${took}, after: ${last.message}`);
    else this.journal.event('normal', 'Started', `started in ${took}`);
  }

  /** What the network does for it has changed; the guest does not notice. */
  async reattach(): Promise<void> {
    const request = attachRequestOf(this.wish.desired!);
    const { network } = this.#context.parts;
    if (request) {
      this.#attached(request);
      await network.attach(request, this.#context.ending);
    } else {
      await network.detach(this.uid, this.#context.ending);
      this.#attached(undefined);
    }
  }

  /** Ends the guest and judges its end by the reason that it was ended for. */
  async end(runtime: Runtime, action: Extract<Action, { do: 'end' }>): Promise<void> {
    this.watch.stop();
    if (action.reason === 'unhealthy') this.journal.set({ health: 'unhealthy', reason: action.why });
    else this.journal.move('stopping', { reason: action.why });
    if (action.reason === 'stopped') this.journal.set({ observedGeneration: this.wish.desired!.generation });
    const state = await this.#stop(runtime);
    this.have = state;
    const exit = state.state === 'exited' ? state.exit : undefined;
    const forced = exit?.reason === 'killed';
    const own = exit && (forced || exit.reason === 'stopped');
    const reason = action.reason === 'stopped' ? (own ? exit.reason : 'stopped') : action.reason;
    const message = forced ? `${action.why}; it did not end by itself and was forced` : action.why;
    const { code, signal } = exit ?? {};
    const atMs = this.#context.clock.nowMs();
    const known = { ...(code !== undefined && { code }), ...(signal !== undefined && { signal }) };
    this.judge({ reason, message, atMs, ...known });
  }

  #stop(runtime: Runtime): Promise<GuestState> {
    const { stops, ending } = this.#context;
    const step = { do: 'stop', uid: this.uid, graceMs: this.#grace() } as const;
    return stops.run(() => runtime.apply(step, ending), ending);
  }

  #grace(): Millis {
    const { desired, graceMs } = this.wish;
    const wanted = graceMs ?? (desired ? stopGraceOf(desired.spec.template) : (2000 as Millis));
    const leftMs = desired ? this.#context.leases.endsInMs(desired) : Number.POSITIVE_INFINITY;
    return Math.min(wanted, leftMs) as Millis;
  }

  /** Comes to rest: nothing of it is on the network, its log can still be read. */
  async rest(runtime: Runtime, phase: 'stopped' | 'failed'): Promise<void> {
    if (this.attachedKey !== '') await this.#apply(runtime, [{ do: 'detach' }]);
    const { reason } = this.record;
    const generation = this.wish.hold ? this.record.observedGeneration : (this.wish.desired?.generation ?? 0);
    this.journal.move(phase, { reason, observedGeneration: generation });
    if (this.wish.desired?.spec.run === 'stopped') this.journal.set({ verdict: 'start' });
  }

  async delete(runtime: Runtime): Promise<void> {
    const { record } = this.journal;
    this.watch.stop();
    const nothing = record.life === 'none' && this.have!.state === 'absent';
    if (!nothing) this.journal.move('stopping', { reason: 'it is being deleted' });
    if (this.have!.state === 'running') this.have = await this.#stop(runtime);
    await this.#apply(runtime, [{ do: 'guest-gone' }]);
    await this.forget();
  }

  async forget(): Promise<void> {
    if (this.attachedKey !== '') await this.#context.parts.network.detach(this.uid, this.#context.ending);
    this.forgotten = 'soon'; // an acknowledgement that comes now must not write the record again
    try {
      await this.#context.records.remove(this.uid);
      this.#context.previousLogs?.remove(this.uid);
    } catch (thrown) {
      this.forgotten = undefined;
      throw thrown;
    }
    this.forgotten = 'now';
    this.#context.reportAbsent(this.uid);
  }

  /** Takes the guest of another runtime away. */
  async clear(runtime: Runtime): Promise<void> {
    await this.#apply(runtime, CLEAR);
  }

  async #apply(runtime: Runtime, steps: readonly NodeStep[], signal?: AbortSignal): Promise<GuestState> {
    const { parts, ending } = this.#context;
    const state = await applySteps(steps, parts, {
      ...{ uid: this.uid, project: this.record.project, runtime, have: this.have!, graceMs: this.#grace() },
      signal: signal ?? ending,
      abandon: ending,
      attached: (request) => this.#attached(request),
      imageSeen: (facts) => this.journal.set({ imageKind: facts.kind }),
    });
    this.have = state;
    return state;
  }
}
