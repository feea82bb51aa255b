// Guests are HTTP servers here; real ones answer in tests/system.
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { Item } from '../message.ts';
import { createGuestCaller, type GuestCaller } from './caller.ts';

const servers: Server[] = [];
let caller: GuestCaller | undefined;
afterEach(async () => {
  await caller?.close();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function guest(answer: (body: unknown, response: ServerResponse) => void) {
  const bodies: unknown[] = [];
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const piece of request) text += piece;
    const body: unknown = JSON.parse(text);
    bodies.push(body);
    answer(body, response);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { bodies, endpoint: { uid: `i${port}`, address: '127.0.0.1', port } };
}
type Guest = Awaited<ReturnType<typeof guest>>;
const callerOf = (...guests: Guest[]) => {
  caller = createGuestCaller({ of: () => guests.map(({ endpoint }) => endpoint) });
  return caller;
};
const item = (n: number): Item => ({
  ...{ id: `m${n}`, project: 'p', device: 'd', topic: 't', atMs: Date.UTC(2026, 0, 1), value: { n } },
});
const signal = () => AbortSignal.timeout(5000);

test('a message goes as JSON; the answer replaces its value, none drops it', async () => {
  const one = await guest((body, response) => {
    const { value } = body as { value: { n: number } };
    if (value.n === 2) response.writeHead(204).end();
    else response.end(JSON.stringify({ twice: value.n * 2 }));
  });
  const ask = callerOf(one).ask('p', { workload: 'w', path: '/judge' });
  expect(await ask([item(1)], signal())).toEqual([{ twice: 2 }]);
  expect(await ask([item(2)], signal())).toEqual([undefined]);
  expect(one.bodies[0]).toEqual({
    id: 'm1',
    device: 'd',
    topic: 't',
    time: '2026-01-01T00:00:00.000Z',
    value: { n: 1 },
  });
  expect(caller!.figures()).toMatchObject({
    asked: 2,
    failed: 0,
    underWay: 0,
    medianMs: expect.any(Number) as number,
  });
});

test('a batch goes as a list, with an answer for each; another number of answers is refused', async () => {
  const one = await guest((body, response) => {
    const list = body as { value: { n: number } }[];
    response.end(
      JSON.stringify(list.length === 3 ? list.map(({ value }) => (value.n === 1 ? null : value.n)) : []),
    );
  });
  const ask = callerOf(one).ask('p', { workload: 'w', batch: 3 });
  expect(await ask([item(0), item(1), item(2)], signal())).toEqual([0, undefined, 2]);
  await expect(ask([item(0), item(1)], signal())).rejects.toThrow('no list of 2');
});

test('one that fails is passed over for another; where none answers it says why', async () => {
  const bad = await guest((_, response) => response.writeHead(500).end('broken'));
  const good = await guest((_, response) => response.end('1'));
  const ask = callerOf(bad, good).ask('p', { workload: 'w' });
  for (let at = 0; at < 5; at++) expect(await ask([item(at)], signal())).toEqual([1]);
  expect(bad.bodies).toHaveLength(1);
  expect(good.bodies).toHaveLength(5);
  await expect(callerOf(bad).ask('p', { workload: 'w' })([item(1)], signal())).rejects.toThrow(
    'it answered 500: broken',
  );
  await expect(callerOf().ask('p', { workload: 'w' })([item(1)], signal())).rejects.toThrow(
    'no instance of w',
  );
});

test('messages spread over instances by what each has under way', async () => {
  const held: ServerResponse[] = [];
  const hold = () => guest((_, response) => held.push(response));
  const guests = [await hold(), await hold()];
  const ask = callerOf(...guests).ask('p', { workload: 'w' });
  const all = Promise.all([0, 1, 2, 3].map((n) => ask([item(n)], signal())));
  while (held.length < 4) await new Promise((resolve) => setImmediate(resolve));
  for (const response of held) response.end('true');
  await all;
  expect(guests.map(({ bodies }) => bodies.length)).toEqual([2, 2]);
});

test('an answer without end is cut off', async () => {
  const endless = await guest((_, response) => {
    const piece = Buffer.alloc(2 ** 20, 0x31);
    const more = () => response.write(piece, (error) => error ?? more());
    more();
  });
  await expect(callerOf(endless).ask('p', { workload: 'w' })([item(1)], signal())).rejects.toThrow('over');
});
