import type { Id } from '@skerry/model';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { incarnationOf } from './guests/resolve.ts';
import { Bench, turns } from './testing/bench.ts';

type Uid = Id<'instance'>;

type Action =
  | { readonly do: 'add' | 'power-cut' | 'cut-off' | 'reach' }
  | { readonly do: 'change' | 'restart' | 'delete' | 'stop' | 'start' | 'exit'; readonly which: number }
  | { readonly do: 'crash'; readonly fuse: number }
  | { readonly do: 'work'; readonly turns: number };

const which = fc.nat({ max: 4 });
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 3, arbitrary: fc.constant({ do: 'add' } as const) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constantFrom('power-cut' as const, 'cut-off' as const, 'reach' as const) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constantFrom('change', 'restart', 'delete', 'stop', 'start', 'exit'),
      which,
    }) as fc.Arbitrary<Action>,
  },
  // the next agent dies at its fuse-th half-call to the world: any await of it
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('crash' as const), fuse: fc.integer({ min: 1, max: 90 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('work' as const), turns: fc.integer({ min: 1, max: 60 }) }),
  },
);

/** What must not be touched: pids of guests that run and are wanted exactly as they are. */
function untouchable(bench: Bench): Map<Uid, number> {
  const pids = new Map<Uid, number>();
  for (const [uid, desired] of bench.controller.instances) {
    const running = bench.world.running(uid);
    const wanted = !desired.deleted && desired.spec.run === 'running';
    if (wanted && running?.incarnation === incarnationOf(desired)) pids.set(uid, running.pid);
  }
  return pids;
}

function converged(bench: Bench): boolean {
  const { world, controller } = bench;
  for (const [uid, desired] of controller.instances) {
    const status = controller.statuses.get(uid);
    if (desired.deleted || status?.observedGeneration !== desired.generation) return false;
    const running = world.running(uid);
    if (desired.spec.run === 'stopped') {
      if (running || world.attachments.has(uid) || status.phase !== 'stopped') return false;
    } else if (running?.incarnation !== incarnationOf(desired) || status.phase !== 'running') return false;
    else if (status.pid !== running.pid || !world.attachments.has(uid)) return false;
  }
  const known = (uid: Uid) => controller.instances.has(uid);
  return [...world.guests.keys()].every(known) && [...world.attachments.keys()].every(known);
}

async function perform(bench: Bench, one: Action): Promise<void> {
  const { controller, world } = bench;
  const uid = 'which' in one ? [...controller.instances.keys()][one.which] : undefined;
  if (one.do === 'add') controller.add(`w${controller.instances.size}`);
  else if (one.do === 'crash') bench.boot({ fuse: one.fuse });
  else if (one.do === 'work') await turns(one.turns);
  else if (one.do === 'cut-off') controller.cutOff();
  else if (one.do === 'reach') controller.reachable = true;
  else if (one.do === 'power-cut') {
    bench.life.kill();
    world.powerCut();
    bench.boot();
  }
  if (!uid || controller.instances.get(uid)!.deleted) return;
  if (one.do === 'change')
    controller.change(uid, { rebuilds: controller.instances.get(uid)!.spec.rebuilds + 1 });
  else if (one.do === 'restart') controller.restart(uid);
  else if (one.do === 'delete') controller.delete(uid);
  else if (one.do === 'stop') controller.change(uid, { run: 'stopped' });
  else if (one.do === 'start') controller.change(uid, { run: 'running' });
  else if (one.do === 'exit' && world.running(uid)) world.exit(uid, 'error');
}

describe('convergence', () => {
  it('reaches what is desired after any wishes and any crashes: no orphan, no double start, nothing that ran is touched', async () => {
    let crashes = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 3, maxLength: 30 }), async (actions) => {
        const bench = new Bench();
        bench.boot();
        for (const one of actions) {
          const before = untouchable(bench);
          if (one.do === 'crash') crashes++;
          await perform(bench, one);
          if (one.do !== 'crash' && one.do !== 'work') continue;
          for (const [uid, pid] of before) expect(bench.world.running(uid)?.pid).toBe(pid);
        }
        const before = untouchable(bench);
        bench.controller.reachable = true;
        bench.boot();
        await bench.until(() => converged(bench), 'converged');
        for (const [uid, pid] of before) expect(bench.world.running(uid)?.pid).toBe(pid);
        expect(bench.world.violations).toEqual([]);
        await bench.rest();
        expect(converged(bench)).toBe(true);
        const records = (await bench.world.store.list('/ledger/record/')).entries;
        expect(records).toHaveLength(bench.controller.instances.size);
        bench.life.kill();
      }),
      { numRuns: 500 },
    );
    expect(crashes).toBeGreaterThan(500);
  });

  it('dies at every single await of a start, a replacement and a deletion, and converges each time', async () => {
    const stories: Record<string, (bench: Bench, uid: Uid) => void> = {
      start: () => undefined,
      replacement: (bench, uid) => bench.controller.change(uid, { rebuilds: 1 }),
      restart: (bench, uid) => bench.controller.restart(uid),
      stop: (bench, uid) => bench.controller.change(uid, { run: 'stopped' }),
      deletion: (bench, uid) => bench.controller.delete(uid),
    };
    for (const [name, story] of Object.entries(stories)) {
      let fuse = 0;
      for (let died = true; died; ) {
        const bench = new Bench();
        const uid = bench.controller.add('hello');
        if (name !== 'start') {
          bench.boot();
          await bench.until(() => converged(bench), 'runs first');
        }
        story(bench, uid);
        bench.boot({ fuse: ++fuse });
        await turns(150);
        died = bench.life.dead;
        bench.boot();
        await bench.until(() => converged(bench), `${name}, died at ${fuse}`);
        expect(bench.world.violations, `${name}, died at ${fuse}`).toEqual([]);
        const starts = bench.world.starts.get(uid) ?? 0;
        expect(starts, `${name}, died at ${fuse}`).toBe(name === 'replacement' || name === 'restart' ? 2 : 1);
        bench.life.kill();
      }
      expect(fuse, name).toBeGreaterThan(12);
    }
  });
});
