// Whatever is lost, late, started again, suspended or copied: what may run once only never runs twice, and runs again at last.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Lease, LeaseGrantor, surelyOverMs } from './grantor.ts';
import { HeldLeases } from './held.ts';

const FOR_MS = 20_000;
/** Clocks run apart by at most a fiftieth. */
const rate = fc.double({ min: 0.98, max: 1.02, noNaN: true });
const delay = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 50 }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 25_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 120_000 }) },
);
/** `own`: one that the copy is on. */
const machine = fc.constantFrom('own' as const, 'own' as const, 0, 1, 2, 3);
const node = fc.integer({ min: 0, max: 2 });
const act = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: delay }) },
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant('ask' as const), machine, there: delay, back: delay }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('ask and lose' as const), machine, there: delay }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('replace' as const), node }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('hand over at once' as const), node }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('restart the controller' as const), downMs: delay }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('restart the agent' as const), machine }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('boot the machine' as const), machine }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('suspend' as const), machine, ms: delay }) },
);
type Act = typeof act extends fc.Arbitrary<infer T> ? T : never;

class Machine {
  readonly node: number;
  readonly #rate: number;
  readonly #real: () => number;
  #bootMs = 0;
  held: HeldLeases;
  holder: string;
  suspendedUntilMs = 0;
  static boots = 0;

  constructor(node: number, rate: number, real: () => number) {
    this.node = node;
    this.#rate = rate;
    this.#real = real;
    this.held = new HeldLeases(this.now);
    this.holder = `boot-${Machine.boots++}`;
  }

  /** Since its boot, suspended time included. */
  readonly now = () => (this.#real() - this.#bootMs) * this.#rate;

  boot(): void {
    this.#bootMs = this.#real();
    this.held = new HeldLeases(this.now);
    this.holder = `boot-${Machine.boots++}`;
  }
}

/** One workload, a controller and four machines: 0 to 2 are nodes, 3 has a copy of the data folder of 0. */
class World {
  realMs = 0;
  readonly machines: Machine[];
  readonly #controllerRate: number;
  #grantor: LeaseGrantor;
  /** What is in the store. */
  copy = { uid: 'copy-0', epoch: 1, node: 0 };
  #upAtMs = 0;
  readonly #queue: { readonly atMs: number; readonly run: () => void }[] = [];

  constructor(rates: readonly number[]) {
    const real = () => this.realMs;
    this.#controllerRate = rates[4]!;
    this.machines = [0, 1, 2, 0].map((node, index) => new Machine(node, rates[index]!, real));
    this.#grantor = this.#newGrantor();
    this.#grantor.open(this.copy.uid);
  }

  #newGrantor = () => new LeaseGrantor(() => this.realMs * this.#controllerRate);

  get lease(): Lease {
    return { uid: this.copy.uid, forMs: FOR_MS };
  }

  /** A machine runs its copy from the grant to the end of its lease by its own clock, also while its agent is dead. */
  running(): string[] {
    return this.machines.flatMap(({ held, node }, index) =>
      [...Array(this.copy.epoch + 1).keys()]
        .filter((epoch) => held.leftMs(`copy-${epoch - 1}`, epoch) > 0)
        .map((epoch) => `machine ${index} (node ${node}) runs epoch ${epoch}`),
    );
  }

  advance(ms: number): void {
    const untilMs = this.realMs + ms;
    for (;;) {
      this.#queue.sort((a, b) => a.atMs - b.atMs);
      const next = this.#queue[0];
      if (!next || next.atMs > untilMs) break;
      this.#queue.shift();
      this.realMs = Math.max(this.realMs, next.atMs);
      next.run();
      this.check();
    }
    this.realMs = untilMs;
    this.check();
  }

  check(): void {
    expect(this.running().length, this.running().join('; ')).toBeLessThanOrEqual(1);
  }

  ask(index: number, there: number, back: number | undefined): void {
    const machine = this.machines[index]!;
    if (machine.suspendedUntilMs > this.realMs) return;
    const { holder } = machine;
    // it knows of the newest copy that its node was ever told of; an older one is refused by its uid
    const { uid, epoch, node } = this.copy;
    const askedMs = machine.now();
    const holds = machine.held.leftMs(uid, epoch) > 0;
    this.#queue.push({
      atMs: this.realMs + there,
      run: () => {
        if (this.realMs < this.#upAtMs) return;
        const isStored = this.copy.uid === uid && node === machine.node && this.copy.epoch === epoch;
        if (!isStored || !this.#grantor.grant(this.lease, { holder, holds }) || back === undefined) return;
        this.#queue.push({
          atMs: this.realMs + back,
          run: () => {
            if (machine.holder === holder)
              machine.held.hold(uid, machine.held.extended(uid, epoch, askedMs, FOR_MS));
          },
        });
      },
    });
  }

  replace(node: number): boolean {
    if (this.realMs < this.#upAtMs || this.#grantor.leftMs(this.lease) > 0) return false;
    this.#grantor.close(this.copy.uid);
    const epoch = this.copy.epoch + 1;
    this.copy = { uid: `copy-${epoch - 1}`, epoch, node };
    this.#grantor.open(this.copy.uid);
    return true;
  }

  #find(which: number | 'own'): number {
    return which === 'own' ? this.machines.findIndex(({ node }) => node === this.copy.node) : which;
  }

  perform(one: Act): void {
    if (one.do === 'pass') this.advance(one.ms);
    else if (one.do === 'ask') this.ask(this.#find(one.machine), one.there, one.back);
    else if (one.do === 'ask and lose') this.ask(this.#find(one.machine), one.there, undefined);
    else if (one.do === 'replace') this.replace(one.node);
    else if (one.do === 'hand over at once') {
      this.advance(this.#grantor.leftMs(this.lease) / this.#controllerRate + 0.001);
      if (this.replace(one.node)) this.ask(this.#find('own'), 0, 0);
      this.advance(1);
    } else if (one.do === 'restart the controller') {
      this.#upAtMs = Math.max(this.#upAtMs, this.realMs + one.downMs);
      this.#queue.push({
        atMs: this.#upAtMs,
        run: () => {
          this.#grantor = this.#newGrantor();
        },
      });
    } else if (one.do === 'boot the machine') this.machines[this.#find(one.machine)]!.boot();
    else if (one.do === 'suspend')
      this.machines[this.#find(one.machine)]!.suspendedUntilMs = this.realMs + one.ms;
    // an agent that is started again reads what it had written down: nothing changes
    this.check();
  }
}

const rates = fc.tuple(rate, rate, rate, rate, rate);

describe('a lease', () => {
  test('has one holder at most, whatever is late, lost, started again, suspended or copied', () => {
    let replaced = 0;
    let ran = 0;
    fc.assert(
      fc.property(rates, fc.array(act, { minLength: 5, maxLength: 60 }), (clocks, acts) => {
        const world = new World(clocks);
        for (const one of acts) {
          world.perform(one);
          ran += world.running().length;
        }
        replaced += world.copy.epoch - 1;
        // and when all is calm again, somebody runs it at last
        const before = surelyOverMs(FOR_MS) * 1.1;
        world.advance(400_000 + before);
        for (const machine of world.machines) machine.suspendedUntilMs = 0;
        world.ask(
          world.machines.findIndex(({ node }) => node === world.copy.node),
          1,
          1,
        );
        world.advance(10);
        expect(world.running()).toHaveLength(1);
      }),
      { numRuns: 2000 },
    );
    expect(replaced).toBeGreaterThan(1000);
    expect(ran).toBeGreaterThan(1000);
  });

  test('is renewed for its holder by a giver that was started again, and given to no other one meanwhile', () => {
    let nowMs = 0;
    const giver = new LeaseGrantor(() => nowMs);
    const lease = { uid: 'a', forMs: FOR_MS };
    expect(giver.grant(lease, { holder: 'copy', holds: false })).toBe(false);
    expect(giver.leftMs(lease)).toBe(22_000);
    expect(giver.grant(lease, { holder: 'holder', holds: true })).toBe(true);
    nowMs = 21_999;
    expect(giver.grant(lease, { holder: 'copy', holds: false })).toBe(false);
    nowMs = 22_000;
    expect(giver.grant(lease, { holder: 'copy', holds: false })).toBe(true);
  });

  test('that is being given up is granted to nobody, and again where nothing came of it', () => {
    const giver = new LeaseGrantor(() => 0);
    const [lease, holder] = [
      { uid: 'a', forMs: FOR_MS },
      { holder: 'h', holds: false },
    ];
    giver.open('a');
    expect(giver.grant(lease, holder)).toBe(true);
    giver.close('a');
    expect(giver.grant(lease, holder)).toBe(false);
    giver.reopen('a');
    expect(giver.grant(lease, holder)).toBe(true);
    giver.forget('a');
    expect(giver.leftMs(lease)).toBe(22_000);
  });

  test('counts from when it was asked for; an answer of before takes nothing away, one of an older epoch counts for nothing', () => {
    let nowMs = 1000;
    const held = new HeldLeases(() => nowMs);
    for (const [epoch, askedMs] of [
      [2, 1000],
      [2, 500],
      [1, 900_000],
    ] as const)
      held.hold('a', held.extended('a', epoch, askedMs, FOR_MS));
    expect([held.leftMs('a', 2), held.leftMs('a', 1), held.leftMs('b', 2)]).toEqual([20_000, 0, 0]);
    nowMs = 21_000;
    expect(held.leftMs('a', 2)).toBe(0);
  });
});
