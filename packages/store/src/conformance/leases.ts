/** Leases: what every engine promises. */
import { expect, test } from 'vitest';
import type { Store } from '../port.ts';
import { codeOf, createHandClock, type EngineOptions, never, put, take } from './bed.ts';

export function leaseConformance(fresh: (options?: EngineOptions) => Promise<Store>): void {
  test('what a lease holds goes when it expires, and stays while it is kept alive', async () => {
    const clock = createHandClock();
    const store = await fresh({ leaseClock: clock });
    const lease = await store.lease(1000);
    await store.txn(
      [],
      [
        { put: '/held', value: '1', lease: lease.id },
        { put: '/free', value: '1' },
      ],
    );
    clock.advance(900);
    await lease.keepAlive();
    clock.advance(900);
    expect(await store.get('/held')).toBeDefined();
    const gone = take(store.watch('/held', { signal: never() }), 1);
    clock.advance(200);
    expect((await gone)[0]!.events[0]!.type).toBe('delete');
    expect(await store.get('/free')).toBeDefined();
  });

  test('what a lease holds goes in one revision, and revoking waits for it', async () => {
    const store = await fresh({ leaseClock: createHandClock() });
    const lease = await store.lease(1000);
    for (const key of ['/b', '/a']) await store.txn([], [{ put: key, value: '1', lease: lease.id }]);
    await lease.revoke();
    expect((await store.list('/')).entries).toEqual([]);
    const [gone] = await take(store.watch('/', { from: 2, signal: never() }), 1);
    expect(gone!.events.map((event) => event.type === 'delete' && event.key)).toEqual(['/a', '/b']);
  });

  test('a key that somebody else has taken over in the moment of expiry stays', async () => {
    const clock = createHandClock();
    const store = await fresh({ leaseClock: clock });
    const lease = await store.lease(1000);
    await store.txn([], [{ put: '/owner', value: 'old', lease: lease.id }]);
    const taking = put(store, '/owner', 'new');
    clock.advance(1000);
    await taking;
    await store.txn([], []);
    expect((await store.get('/owner'))?.value).toBe('new');
  });

  test('a holder whose lease has ended can neither keep it alive nor write under it', async () => {
    const clock = createHandClock();
    const store = await fresh({ leaseClock: clock });
    const lease = await store.lease(1000);
    clock.advance(1000);
    expect(await codeOf(() => lease.keepAlive())).toBe('conflict');
    const [late, other] = await Promise.all([
      codeOf(() =>
        store.txn(
          [],
          [
            { put: '/x', value: '1' },
            { put: '/held', value: '1', lease: lease.id },
          ],
        ),
      ),
      put(store, '/other'),
    ]);
    expect(late).toBe('conflict');
    expect(other.succeeded).toBe(true);
    expect((await store.list('/')).entries.map((entry) => entry.key)).toEqual(['/other']);
    expect(clock.timers).toBe(0);
  });

  test('a lease without a sensible time is refused', async () => {
    const store = await fresh();
    for (const ttlMs of [0, -1, Number.NaN, 2 ** 31])
      expect(await codeOf(() => store.lease(ttlMs))).toBe('internal');
  });
}
