// Images that a node brings from its controller: what fails on the way is no fault of a guest, and what nobody needs goes.
import { SkerryError } from '@skerry/model';
import { describe, expect, it } from 'vitest';
import { Bench, turns } from '../testing/bench.ts';

const MINUTE_MS = 60_000;
const facts = (digest: string) => ({
  ...{ kind: 'container' as const, digest, sizeBytes: 1, source: 'import', facts: {} },
});

describe('an image that can not be brought', () => {
  it.each(['unavailable', 'registry_unavailable', 'internal', 'host_timeout'] as const)(
    'for %s is tried again, and is no failed start of the guest',
    async (code) => {
      const bench = new Bench();
      let tries = 0;
      const bringImage = async (digest: string) => {
        if (++tries <= 5) throw new SkerryError(code, 'the cable is cut');
        return facts(digest);
      };
      const uid = bench.controller.add('web');
      bench.boot({ bringImage });
      await bench.until(() => tries >= 3, 'three tries');
      expect(bench.agent!.instances()[0]!.status).toMatchObject({
        ...{ restartCount: 0, exits: [] },
        reason: expect.stringContaining('its image could not be brought here yet: the cable is cut'),
      });
      expect(bench.agent!.instances()[0]!.status.phase).not.toBe('backoff');
      await bench.until(() => bench.phase(uid) === 'running', 'runs');
      expect(bench.controller.statuses.get(uid)).toMatchObject({ restartCount: 0, exits: [] });
    },
  );

  it('is tried at once when the controller is back', async () => {
    const bench = new Bench();
    let tries = 0;
    const bringImage = async (digest: string) => {
      tries++;
      if (!bench.controller.reachable) throw new SkerryError('unavailable', 'the cable is cut');
      return facts(digest);
    };
    const uid = bench.controller.add('web');
    bench.boot({ bringImage });
    await bench.until(() => bench.phase(uid) === 'running', 'runs');
    bench.controller.cutOff();
    bench.world.crashing.set(uid, 'error');
    bench.world.exit(uid, 'error');
    await bench.until(() => tries >= 12, 'many tries: the pause is long by now', 20 * MINUTE_MS);
    bench.world.crashing.delete(uid);
    bench.controller.reachable = true;
    const fromMs = bench.world.clock.monotonicMs();
    const before = bench.controller.reports;
    await bench.until(() => bench.controller.reports > before, 'the session is back', 20 * MINUTE_MS);
    const backMs = bench.world.clock.monotonicMs();
    await bench.until(() => bench.world.running(uid) !== undefined, 'runs', MINUTE_MS);
    expect(bench.world.clock.monotonicMs() - backMs).toBeLessThanOrEqual(1000);
    expect(backMs - fromMs).toBeLessThanOrEqual(MINUTE_MS);
  });

  it('because it is none is a failed start', async () => {
    const bench = new Bench();
    const uid = bench.controller.add('web');
    bench.boot({
      bringImage: async () => {
        throw new SkerryError('image_invalid', 'it has no layers');
      },
    });
    await bench.until(() => bench.phase(uid) === 'backoff', 'backoff');
    expect(bench.controller.statuses.get(uid)!.exits[0]).toMatchObject({ reason: 'start-failed' });
  });
});

describe('an image that was brought', () => {
  const kept = () => {
    const bench = new Bench();
    const collected: string[][] = [];
    const collectImages = async (keep: ReadonlySet<string>) => {
      collected.push([...keep].sort());
      return 1;
    };
    return {
      bench,
      collected,
      options: { collectImages, bringImage: async (digest: string) => facts(digest) },
    };
  };

  it('stays for ten minutes after its last instance, and never goes while one needs it', async () => {
    const { bench, collected, options } = kept();
    const a = bench.controller.add('a', { imageDigest: 'sha256:a' });
    const b = bench.controller.add('b', { imageDigest: 'sha256:b' });
    bench.boot(options);
    await bench.until(() => [a, b].every((uid) => bench.phase(uid) === 'running'), 'both run');
    await bench.world.clock.advance(11 * MINUTE_MS);
    await turns(20);
    expect(collected).toEqual([['sha256:a', 'sha256:b']]); // once, for what an agent of before had left
    bench.controller.delete(a);
    await bench.until(() => bench.agent!.instances().length === 1, 'a is gone');
    bench.controller.change(b, { imageDigest: 'sha256:c' });
    await bench.until(() => bench.world.guests.get(b)?.spec.imageDigest === 'sha256:c', 'b has a new image');
    await turns(40);
    await bench.world.clock.advance(9 * MINUTE_MS);
    expect(collected).toHaveLength(1);
    await bench.world.clock.advance(12 * MINUTE_MS);
    await turns(20);
    expect(collected.at(-1)).toEqual(['sha256:c']);
    const calls = collected.length;
    await bench.world.clock.advance(24 * 60 * MINUTE_MS);
    expect(collected).toHaveLength(calls); // nothing to do: nothing is done
  });

  it('that is needed again in time is not collected', async () => {
    const { bench, collected, options } = kept();
    const b = bench.controller.add('b', { imageDigest: 'sha256:b' });
    bench.boot(options);
    await bench.until(() => bench.phase(b) === 'running', 'runs');
    bench.controller.change(b, { imageDigest: 'sha256:c' });
    await bench.world.clock.advance(5 * MINUTE_MS);
    bench.controller.change(b, { imageDigest: 'sha256:b' });
    await bench.world.clock.advance(30 * MINUTE_MS);
    await turns(20);
    expect(collected.at(-1)).toEqual(['sha256:b']);
    expect(collected.every((keep) => keep.includes('sha256:b'))).toBe(true);
  });
});
