import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Echoes, openEchoes } from './echo.ts';
import { processesWithArgument } from './find-process.ts';

const program = fileURLToPath(new URL('../native/build/skerry-echo', import.meta.url));
let echoes: Echoes;
beforeAll(async () => {
  echoes = await openEchoes(program);
});
afterAll(() => echoes.close());

test('an address that answers tells its round trip, over IPv4 and IPv6, many at once', async () => {
  const all = await Promise.all(
    Array.from({ length: 100 }, (_, at) => echoes.ask(`127.0.0.${1 + (at % 9)}`)),
  );
  for (const us of all) {
    expect(us).toBeGreaterThanOrEqual(0);
    expect(us).toBeLessThan(500_000);
  }
  expect(await echoes.ask('::1')).toBeGreaterThanOrEqual(0);
});

test('an address that does not answer, is not reached or is none tells so', async () => {
  // 240.0.0.0/4 is reserved (RFC 1112): the kernel refuses to send there.
  expect(
    await Promise.all([echoes.ask('240.0.0.1'), echoes.ask('nowhere'), echoes.ask('1.2.3.4\n1 127.0.0.1')]),
  ).toEqual([undefined, undefined, undefined]);
});

test('it runs without rights, and its end is heard', async () => {
  const other = await openEchoes(program);
  expect(await other.ask('127.0.0.1')).toBeGreaterThanOrEqual(0);
  const own = processesWithArgument(program);
  expect(own.length).toBeGreaterThanOrEqual(2);
  for (const { pid } of own) {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    expect(status).toMatch(/^Uid:\t65534\t65534\t65534\t65534$/m);
    expect(status).toMatch(/^CapEff:\t0+$/m);
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
  }
  const answer = other.ask('240.0.0.2');
  other.close();
  expect(await answer).toBeUndefined();
  await other.closed;
  expect(await other.ask('127.0.0.1')).toBeUndefined();
});
