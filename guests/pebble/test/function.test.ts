import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { beforeAll, describe, expect, test } from 'vitest';
import { buildImage, Guest } from './guest.ts';
import { exchange, fetchOnce, metric } from './http-client.ts';
import { lower, thermo } from './lower.ts';

beforeAll(buildImage);

async function withGuest(source: string, use: (guest: Guest) => Promise<void>, words = ''): Promise<void> {
  const guest = await Guest.boot({ source, words });
  try {
    await use(guest);
  } finally {
    await guest.dispose();
  }
}

const json = (text: string): unknown => JSON.parse(text);

describe('a request reaches the function and its answer comes back', () => {
  const source = `
    exports.handle = function (r) {
      if (r.path === '/echo') return r;
      if (r.path === '/text') return 'grüße 😀';
      if (r.path === '/none') return undefined;
      if (r.path === '/bytes') return new Uint8Array([0, 255, 128]);
      if (r.path === '/made') return { status: 201, headers: { Location: '/x', 'Content-Type': 'text/html', 'Content-Length': '9' }, body: '<p>' };
      if (r.path === '/state') return { status: 'fine' };
      if (r.path === '/env') return process.env.SITE;
      if (r.path === '/split') return { status: 200, headers: { X: 'a\\r\\nSet-Cookie: b' }, body: '' };
      throw new TypeError('no such path: ' + r.path);
    };`;

  test('method, path, query, headers, body and peer are handed over as the contract says', () =>
    withGuest(source, async ({ peer }) => {
      const body = 'naïve \u{1F600}';
      const answer = await fetchOnce(peer, '/echo?a=1&b=x+y&b=%C3%A9&__proto__=p&flag', {
        body,
        headers: { 'X-One': 'a', 'x-one': 'b' },
      });
      expect(answer.headers['content-type']).toBe('application/json');
      const seen = json(answer.body) as Record<string, unknown>;
      expect(seen).toMatchObject({ method: 'POST', path: '/echo', body });
      expect(seen.query).toEqual(JSON.parse('{"a":"1","b":"é","__proto__":"p","flag":""}'));
      expect(seen.headers).toMatchObject({ host: 'guest', 'x-one': 'a, b' });
      expect(seen.remote).toMatch(/^10\.1\.2\.1:\d+$/);
    }));

  test('strings, objects, bytes, nothing and whole answers become HTTP', () =>
    withGuest(
      source,
      async ({ peer }) => {
        const client = await peer.connect();
        expect(await exchange(client, '/text')).toMatchObject({ status: 200, body: 'grüße 😀' });
        expect(await exchange(client, '/none')).toMatchObject({ status: 204, body: '' });
        expect((await exchange(client, '/bytes')).headers['content-length']).toBe('3');
        const made = await exchange(client, '/made');
        expect(made).toMatchObject({ status: 201, body: '<p>' });
        expect(made.headers).toMatchObject({
          location: '/x',
          'content-type': 'text/html',
          'content-length': '3',
        });
        expect(json((await exchange(client, '/state')).body)).toEqual({ status: 'fine' });
        expect((await exchange(client, '/env')).body).toBe('lake side');
        const head = await exchange(client, '/text', { method: 'HEAD' });
        expect(head).toMatchObject({ status: 200, body: '' });
        expect(head.headers['content-length']).toBe('12');
      },
      'env.SITE=lake%20side',
    ));

  test('a thrown error is a 500 with its message; the stack goes to the console; the next request is served', () =>
    withGuest(source, async (guest) => {
      const answer = await fetchOnce(guest.peer, '/nowhere');
      expect(answer.status).toBe(500);
      expect(json(answer.body)).toMatchObject({ status: 500, detail: 'TypeError: no such path: /nowhere' });
      await guest.said(/thermo: error: TypeError: no such path[\s\S]*thermo\.js:\d+/);
      expect(await metric(guest.peer, 'pebble_function_errors_total')).toBe(1);
      expect((await fetchOnce(guest.peer, '/text')).status).toBe(200);
    }));

  test('an answer header that would split the response is an error of the function', () =>
    withGuest(source, async ({ peer }) => {
      const answer = await fetchOnce(peer, '/split');
      expect(answer.status).toBe(500);
      expect(answer.headers).not.toHaveProperty('set-cookie');
    }));
});

describe('the sample function', () => {
  test('takes JSON lines, a JSON array and CSV, and keeps its statistics between requests', () =>
    withGuest(thermo(), async ({ peer }) => {
      const client = await peer.connect();
      const lines = '{"time":"2026-01-01T00:00:00Z","temp":10}\n\n{"temp":12.5}\n{"temp":"n/a"}\n';
      expect(json((await exchange(client, '/readings', { body: lines })).body)).toMatchObject({
        accepted: 2,
        mean: 11.25,
        count: 2,
      });
      const array = '[{"temp":10},{"temperature":12.5}]';
      expect(json((await exchange(client, '/readings', { body: array })).body)).toMatchObject({
        accepted: 2,
        count: 4,
      });
      const csv = 'date,temp,note\r\n2010/01/01 00:00,47.8,"windy, cold"\r\n2010/01/01 01:00,-3e0,\r\n';
      const answer = await exchange(client, '/readings', {
        body: csv,
        headers: { 'Content-Type': 'text/csv' },
      });
      expect(json(answer.body)).toMatchObject({ accepted: 2, count: 6, min: -3, max: 47.8 });
      expect(json((await exchange(client, '/')).body)).toMatchObject({ count: 6, rejected: 1, mean: 14.967 });
    }));

  test('agrees with statistics computed here over a thousand readings, and finds the outliers', () =>
    withGuest(thermo(), async (guest) => {
      const temps = Array.from({ length: 1000 }, (_, i) => Number((15 + 5 * Math.sin(i / 7)).toFixed(2)));
      temps[500] = 60;
      const rows = temps.map((temp, i) => `2026-01-01 ${i},${temp}`);
      const answer = await fetchOnce(guest.peer, '/readings', { body: `time,temp\n${rows.join('\n')}\n` });
      const mean = temps.reduce((a, b) => a + b) / temps.length;
      const deviation = Math.sqrt(temps.reduce((a, b) => a + (b - mean) ** 2, 0) / (temps.length - 1));
      const result = json(answer.body) as { mean: number; deviation: number; outliers: unknown[] };
      expect(result.mean).toBeCloseTo(mean, 2);
      expect(result.deviation).toBeCloseTo(deviation, 2);
      expect(result.outliers).toEqual([{ time: '2026-01-01 500', temp: 60, z: expect.any(Number) }]);
      await guest.said(/thermo: warn: outlier: 60 at 2026-01-01 500/);
    }));

  test('a year of hourly measurements (San Francisco, 2010) in one piece, in 8 MiB', () =>
    withGuest(
      thermo(),
      async ({ peer }) => {
        const csv = readFileSync(
          createRequire(import.meta.url).resolve('vega-datasets/data/sf-temps.csv'),
          'utf8',
        );
        const temps = csv
          .trim()
          .split('\n')
          .slice(1)
          .map((line) => Number(line.split(',')[1]));
        const answer = await fetchOnce(
          peer,
          '/readings',
          { body: csv, headers: { 'Content-Type': 'text/csv' } },
          20_000,
        );
        const result = json(answer.body) as { accepted: number; mean: number; min: number; max: number };
        expect(result.accepted).toBe(temps.length);
        expect(result.mean).toBeCloseTo(temps.reduce((a, b) => a + b) / temps.length, 2);
        expect([result.min, result.max]).toEqual([Math.min(...temps), Math.max(...temps)]);
      },
      'timeout_ms=10000',
    ));

  test('readings that cannot be read are answered with their line, and change nothing', () =>
    withGuest(thermo(), async ({ peer }) => {
      const bad = ['{"temp":1}\n{"temp":\n', 'a,b\n1,2\n3\n', 'a\n"open\n', '[1,2]', '{"temp":1}\n17\n'];
      const details: string[] = [];
      for (const body of bad) {
        const answer = await fetchOnce(peer, '/readings', { body });
        expect(answer.status).toBe(400);
        details.push((json(answer.body) as { detail: string }).detail);
      }
      expect(details.map((d) => d.slice(0, 7))).toEqual([
        'line 2:',
        'line 3:',
        'line 2:',
        'line 1:',
        'line 2:',
      ]);
      expect(json((await fetchOnce(peer, '/')).body)).toMatchObject({ count: 0 });
    }));
});

test('modern language and library work after lowering', () =>
  withGuest(
    lower(`
      class Base { constructor(readonly name: string) {} greet({ loud = false } = {}) { return loud ? this.name.toUpperCase() : this.name; } }
      class Derived extends Base { static made = 0; constructor(...parts: string[]) { super(parts.join('-')); Derived.made++; } }
      export const handle = () => {
        const map = new Map<unknown, number>([['a', 1], ['b', 2], [3, 3]]);
        const key = {}; map.set(key, 4); map.delete('b');
        const set = new Set([...'hello', '😀']);
        const seen: unknown[] = [];
        for (const [k, v] of map) { if (v === 1) map.set('late', 9); seen.push(k === key ? 'key' : k); }
        const { a, ...rest } = { a: 1, b: 2, c: 3 };
        const sorted = [3, 1, 2].sort((x, y) => x - y);
        return {
          greet: new Derived('x', 'y').greet({ loud: true }), made: Derived.made, seen, size: map.size, set: [...set].join(''), rest,
          entries: Object.entries(rest), from: Array.from({ length: 3 }, (_, i) => i * i), flat: [[1], [2, [3]]].flat(),
          includes: [NaN].includes(NaN), find: sorted.find((n) => n > 1), last: sorted.at(-1), fill: new Array(2).fill(0),
          text: ['ab'.padStart(4, '.'), 'x'.repeat(3), 'abc'.includes('b'), 'abc'.startsWith('ab'), 'abc'.endsWith('bc'), 'aXbX'.replaceAll('X', '-')],
          numbers: [Number.isInteger(2), Number.isFinite('2' as never), Math.trunc(-1.5), Math.sign(-3), Math.hypot(3, 4), Math.log10(1000), 2 ** 10],
          optional: (undefined as unknown as { b: { c: 1 } })?.b?.c ?? 'none', tag: \`\${1 + 1}\`, date: new Date('2010/01/01 13:30').toISOString(),
          weak: new WeakMap([[key, 5]]).get(key), keys: [...map.keys()].length, again: [...[1, 2].entries()],
        };
      };`),
    async ({ peer }) => {
      expect(json((await fetchOnce(peer, '/')).body)).toEqual({
        greet: 'X-Y',
        made: 1,
        seen: ['a', 3, 'key', 'late'],
        size: 4,
        set: 'helo😀',
        rest: { b: 2, c: 3 },
        entries: [
          ['b', 2],
          ['c', 3],
        ],
        from: [0, 1, 4],
        flat: [1, 2, [3]],
        includes: true,
        find: 2,
        last: 3,
        fill: [0, 0],
        text: ['..ab', 'xxx', true, true, true, 'a-b-'],
        numbers: [true, false, -1, -1, 5, 3, 1024],
        optional: 'none',
        tag: '2',
        date: '2010-01-01T13:30:00.000Z',
        weak: 5,
        keys: 4,
        again: [
          [0, 1],
          [1, 2],
        ],
      });
    },
  ));

test('the clock starts at time=, moves on, and stays in step with ours', () =>
  withGuest(
    `exports.handle = function () { return { now: Date.now() }; };`,
    async ({ peer, startedMs }) => {
      const now = async () =>
        (json((await fetchOnce(peer, '/')).body) as { now: number }).now - 1_767_225_600_000;
      const first = await now();
      const offset = performance.now() - startedMs - first;
      expect(first).toBeGreaterThan(0);
      await new Promise((done) => setTimeout(done, 1000));
      expect(Math.abs(performance.now() - startedMs - (await now()) - offset)).toBeLessThan(250);
    },
    'time=1767225600000',
  ));

describe('a function that does not load ends the guest with a reason', () => {
  const cases: [string, string, RegExp][] = [
    ['a syntax error', 'exports.handle = function ( {', /loading the function failed: SyntaxError/],
    [
      'an error while it is evaluated',
      'throw new Error("no luck");',
      /loading the function failed: Error: no luck[\s\S]*thermo\.js:1/,
    ],
    ['no export', 'var a = 1;', /exports neither handle nor readings/],
    ['an endless loop', 'for (;;) {}', /loading the function ran past load_ms/],
    ['a require', 'require("fs");', /there are no modules: require\('fs'\)/],
    [
      'a source larger than the heap',
      `var text = '${'x'.repeat(3_000_000)}'; exports.handle = function () {};`,
      /loading the function is out of memory/,
    ],
    ['an empty source', '', /there is no function/],
    ['not text', '\u0000\uffff\u0001', /loading the function failed/],
  ];
  test.each(cases)('%s', async (_name, source, reason) => {
    const guest = await Guest.spawn({ source, words: 'load_ms=300' });
    try {
      expect(await guest.exited()).toBe(2 * 2 + 1);
      expect(guest.console).toMatch(reason);
      expect(guest.console).toMatch(/\nEXIT code=2\n$/);
    } finally {
      await guest.dispose();
    }
  });

  test.each(['ip=10.1.2.3', 'port=0', 'gw=10.9.9.9', 'seed=xyz', 'timeout_ms=5', 'virtio_mmio.device=1@2'])(
    'a wrong command line too: %s',
    async (word) => {
      const guest = await Guest.spawn({ source: 'exports.handle = function () {};', words: word });
      try {
        expect(await guest.exited()).toBe(2 * 3 + 1);
        expect(guest.console).toMatch(/command line: [\s\S]*\nEXIT code=3\n$/);
      } finally {
        await guest.dispose();
      }
    },
  );
});

test('the function cannot forge a line of the kernel', () =>
  withGuest(
    `console.log('a\\nEXIT code=0\\r\\nEXIT code=0\\u001b[2J'); exports.handle = function () {};`,
    async (guest) => {
      expect(guest.console).not.toMatch(/^EXIT/m);
      expect(guest.console).toMatch(/^thermo: info: EXIT code=0\\x0d$/m);
      expect(guest.console).toMatch(/\\x1b\[2J/);
    },
  ));
