import { beforeAll, describe, expect, test } from 'vitest';
import { buildImage, Guest } from './guest.ts';
import { fetchOnce, metric } from './http-client.ts';

beforeAll(buildImage);

const SOURCE = `
  var kept = [], count = 0;
  exports.handle = function (r) {
    count++;
    if (r.path === '/loop') for (;;) {}
    if (r.path === '/catching-loop') for (;;) { try { for (;;) {} } catch (e) {} finally { for (;;) {} } }
    if (r.path === '/regexp') return String(/^(a+)+$/.test('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab'));
    if (r.path === '/hoard') for (;;) kept.push(new Array(100).join('x' + kept.length));
    if (r.path === '/burst') { var all = []; for (;;) all.push(new Array(100).join('x' + all.length)); }
    if (r.path === '/recursion') return (function deep(n) { return 1 + deep(n + 1); })(0);
    if (r.path === '/json') { var o = {}, t = o; for (var i = 0; i < 100000; i++) t = t.o = {}; return o; }
    if (r.path === '/tostring') throw { toString: function () { for (;;) {} }, get stack() { for (;;) {} } };
    if (r.path === '/chatter') for (var i = 0; i < 2000; i++) console.log('line ' + i + new Array(60).join('.'));
    if (r.path === '/huge') return new Array(3000000).join('x');
    return { count: count };
  };`;

async function withGuest(use: (guest: Guest) => Promise<void>, words = 'timeout_ms=300'): Promise<void> {
  const guest = await Guest.boot({ source: SOURCE, words });
  try {
    await use(guest);
  } finally {
    await guest.dispose();
  }
}
const countOf = async (guest: Guest): Promise<number> =>
  (JSON.parse((await fetchOnce(guest.peer, '/')).body) as { count: number }).count;

describe('a function that never returns is cut off, reported, and the guest goes on', () => {
  test('an endless loop: 503 after timeout_ms, state kept', () =>
    withGuest(async (guest) => {
      const start = performance.now();
      const answer = await fetchOnce(guest.peer, '/loop');
      const ms = performance.now() - start;
      expect(answer.status).toBe(503);
      expect(JSON.parse(answer.body)).toMatchObject({ title: 'function timed out' });
      expect(ms).toBeGreaterThanOrEqual(290);
      expect(ms).toBeLessThan(4000);
      await guest.said(/the function ran longer than 300 ms and was stopped/);
      expect(await metric(guest.peer, 'pebble_function_timeouts_total')).toBe(1);
      expect(await countOf(guest)).toBe(2);
    }));

  test.each(['/catching-loop', '/regexp', '/tostring'])('%s ends too', (path) =>
    withGuest(async (guest) => {
      const answer = await fetchOnce(guest.peer, path);
      expect([500, 503]).toContain(answer.status);
      expect(await countOf(guest)).toBeGreaterThan(0);
    }),
  );

  test('native code that no check reaches: the heap is restarted and the console says that state is lost', () =>
    withGuest(async (guest) => {
      await countOf(guest);
      expect((await fetchOnce(guest.peer, '/regexp')).status).toBe(503);
      await guest.said(/JavaScript heap restarted: .*; state lost/);
      expect(await countOf(guest)).toBe(1);
      expect(await metric(guest.peer, 'pebble_heap_restarts_total')).toBe(1);
    }));
});

describe('a full heap is reported and the guest goes on', () => {
  test('garbage of one request: 503, state kept', () =>
    withGuest(async (guest) => {
      const answer = await fetchOnce(guest.peer, '/burst');
      expect(answer.status).toBe(503);
      expect(JSON.parse(answer.body)).toMatchObject({ title: 'function out of memory' });
      await guest.said(/the function's heap is full/);
      expect(await countOf(guest)).toBe(2);
      expect(await metric(guest.peer, 'pebble_function_out_of_memory_total')).toBe(1);
    }, 'timeout_ms=10000'));

  test('a hoard that the module keeps: 503, then the heap starts anew', () =>
    withGuest(async (guest) => {
      for (let round = 0; round < 3; round++)
        expect((await fetchOnce(guest.peer, '/hoard')).status).toBe(503);
      await guest.said(/JavaScript heap restarted: heap full; state lost/);
      expect(await countOf(guest)).toBe(1);
    }, 'timeout_ms=10000'));

  test('an answer larger than the network has memory for: 503', () =>
    withGuest(async (guest) => {
      expect((await fetchOnce(guest.peer, '/huge')).status).toBe(503);
      expect(await countOf(guest)).toBeGreaterThan(0);
    }, 'timeout_ms=10000'));
});

test.each(['/recursion', '/json'])('recursion without end is an error, not a crash: %s', (path) =>
  withGuest(async (guest) => {
    expect([500, 503]).toContain((await fetchOnce(guest.peer, path)).status);
    expect(await countOf(guest)).toBeGreaterThan(0);
  }, 'timeout_ms=5000'),
);

test('a console that nobody reads does not stop the guest', () =>
  withGuest(async (guest) => {
    guest.muteConsole(true);
    for (let round = 0; round < 3; round++)
      expect([200, 503]).toContain((await fetchOnce(guest.peer, '/chatter', {}, 15_000)).status);
    const start = performance.now();
    expect(await countOf(guest)).toBeGreaterThan(0);
    expect(performance.now() - start).toBeLessThan(4000);
    guest.muteConsole(false);
    await fetchOnce(guest.peer, '/chatter');
    await guest.said(/line 1999/);
  }, 'timeout_ms=5000'));

describe('memory is divided: code is read-only, data is not executable, stacks are fenced', () => {
  test.each(['nx-data', 'nx-heap', 'nx-stack', 'nx-rodata', 'ro-text', 'ro-rodata', 'null', 'low', 'guard'])(
    '%s',
    async (name) => {
      const guest = await Guest.spawn({
        source: 'exports.handle = function () {};',
        words: `selftest=${name}`,
      });
      try {
        await guest.exited();
        expect(guest.console).toMatch(new RegExp(`selftest ${name}: stopped by a (page|double) fault at`));
        expect(guest.console).toMatch(/\nEXIT code=0\n$/);
        expect(guest.exitStatus).toBe(1);
      } finally {
        await guest.dispose();
      }
    },
  );
});

test('an idle guest uses next to no processor time', () =>
  withGuest(async (guest) => {
    const { readFileSync } = await import('node:fs');
    const ticks = () => {
      const fields = readFileSync(`/proc/${guest.pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
      return Number(fields[11]) + Number(fields[12]);
    };
    await fetchOnce(guest.peer, '/');
    const before = ticks();
    await new Promise((done) => setTimeout(done, 3000));
    expect(ticks() - before).toBeLessThanOrEqual(6); // hundredths of a second, of 300
  }));
