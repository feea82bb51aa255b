/**
 * The health of the present run, on behalf of its actor: which check applies, its monitor, and what its news change.
 * A run that is over has no voice: news carry the run that they are of.
 */
import type { DesiredInstance } from '@skerry/contract';
import { formatMillis } from '@skerry/model';
import { HEALTH_READY, HEALTH_START, type HealthState } from '@skerry/reconcile';
import { HealthMonitor, type HealthNews } from '../health/monitor.ts';
import type { ActorContext } from './context.ts';
import type { Journal } from './journal.ts';
import { type HealthCheck, healthCheckOf } from './resolve.ts';

export class Watch {
  readonly #context: ActorContext;
  readonly #journal: Journal;
  #monitor: HealthMonitor | undefined;
  /** The check that the monitor performs, as JSON; '' for none. */
  #key = '';
  #run = 0;
  #startedMs = 0;
  /** Why the check gave up on the present run. */
  unhealthy: string | undefined;

  constructor(context: ActorContext, journal: Journal) {
    this.#context = context;
    this.#journal = journal;
  }

  /** Whether the guest is ready only once a check has said so. */
  checked(desired: DesiredInstance): boolean {
    return this.#check(desired) !== undefined;
  }

  /** A run begins now; `beganMs`: monotonic time of the beginning of its start. */
  begin(desired: DesiredInstance, beganMs: number): void {
    this.#watch(desired, beganMs, HEALTH_START);
  }

  /** The guest runs: makes sure that its present check is performed, also after a restart of the agent. */
  follow(desired: DesiredInstance): void {
    const check = this.#check(desired);
    if (this.#key === (check ? JSON.stringify(check) : '')) return;
    const { record } = this.#journal;
    const ranMs = Math.max(0, this.#context.clock.nowMs() - (record.startedAtMs ?? 0));
    const startedMs = this.#monitor ? this.#startedMs : this.#context.clock.monotonicMs() - ranMs;
    if (!check) this.#journal.set({ health: 'unknown' });
    // one that was failing is well only when a check says so
    const ready = { ...HEALTH_READY, failuresInRow: record.health === 'unhealthy' ? 1 : 0 };
    this.#watch(desired, startedMs, record.ready ? ready : HEALTH_START);
  }

  absorb(run: number, news: HealthNews): void {
    if (run !== this.#run) return;
    if (news.is === 'unhealthy') {
      this.unhealthy = news.message;
      return;
    }
    const { phase } = this.#journal.record;
    if (news.is === 'failing') {
      if (phase === 'running') this.#journal.set({ health: 'unhealthy' });
      return;
    }
    if (news.is === 'well') {
      if (phase === 'running') this.#journal.set({ health: 'healthy' });
      return;
    }
    if (phase !== 'starting') return;
    if (news.is === 'waiting') {
      this.#journal.set({ reason: `not ready yet: ${news.message}` });
      return;
    }
    const readyMs = news.atMonotonicMs - this.#startedMs;
    this.#journal.move('running', { ready: true, health: 'healthy', readyMs });
    this.#journal.event('normal', 'Ready', `ready after ${formatMillis(readyMs)}`);
  }

  stop(): void {
    this.#monitor?.stop();
    this.#monitor = undefined;
    this.#key = '';
    this.#run++;
    this.unhealthy = undefined;
  }

  #check(desired: DesiredInstance): HealthCheck | undefined {
    return healthCheckOf(desired.spec.template, this.#journal.record.imageKind);
  }

  #watch(desired: DesiredInstance, startedMs: number, state: HealthState): void {
    this.stop();
    const check = this.#check(desired);
    const runtime = this.#context.engine(desired.spec.template.runtime)?.runtime;
    if (!check || !runtime) return;
    const run = this.#run;
    const { uid } = desired;
    this.#startedMs = startedMs;
    this.#key = JSON.stringify(check);
    this.#monitor = new HealthMonitor({
      check,
      ...{ probe: this.#context.healthProbe, clock: this.#context.clock, startedMs, state },
      subject: { uid, address: desired.spec.network?.address, runtime },
      tell: (news) => this.#context.tell(uid, { type: 'health', run, news }),
    });
    this.#monitor.start();
  }
}
