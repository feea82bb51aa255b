// Two ends of a session over a line in memory.
import { SkerryError } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { expect, test } from 'vitest';
import { createPeer, type Peer, type Served } from './peer.ts';

const NOTHING: Served = { calls: {}, streams: {} };
const never = new AbortController().signal;

/** Frames arrive later, in order, as over a socket. */
function pair(here: Served, there: Served): { here: Peer; there: Peer; frames: string[]; cut(): void } {
  const frames: string[] = [];
  let cut = false;
  const lineTo = (peer: () => Peer) => ({
    async send(text: string) {
      if (cut) throw new Error('cut');
      frames.push(text);
      setImmediate(() => {
        if (!cut) peer().receive(text);
      });
    },
    close: () => undefined,
  });
  const a: Peer = createPeer(
    lineTo(() => b),
    here,
  );
  const b: Peer = createPeer(
    lineTo(() => a),
    there,
  );
  return {
    here: a,
    there: b,
    frames,
    cut() {
      cut = true;
      a.lost();
      b.lost();
    },
  };
}

test('both sides ask and answer, each its own', async () => {
  const { here, there } = pair(
    { calls: { double: async (n: number) => n * 2 }, streams: {} },
    { calls: { triple: async (n: number) => n * 3 }, streams: {} },
  );
  const answers = await Promise.all([
    here.call('triple', 7),
    there.call('double', 7),
    here.call('triple', 8),
    there.call('double', 8),
  ]);
  expect(answers).toEqual([21, 14, 24, 16]);
});

test('an error keeps its code and its words; what nobody knows is refused', async () => {
  const { here } = pair(NOTHING, {
    calls: {
      async fail() {
        throw new SkerryError('guest_not_running', 'it sleeps');
      },
    },
    streams: {},
  });
  await expect(here.call('fail', {})).rejects.toMatchObject({
    code: 'guest_not_running',
    message: 'it sleeps',
  });
  await expect(here.call('constructor', {})).rejects.toMatchObject({ code: 'unsupported' });
  await expect(here.stream('fail', {}, never).next()).rejects.toMatchObject({ code: 'unsupported' });
});

test('a stream is never ahead of its reader by more than the room it gave', async () => {
  let made = 0;
  const { here } = pair(NOTHING, {
    calls: {},
    streams: {
      async *count() {
        while (made < 1000) yield ++made;
      },
    },
  });
  const stream = here.stream<number>('count', {}, never, 4);
  expect((await stream.next()).value).toBe(1);
  await new Promise((resolve) => setTimeout(resolve, 20)); // as long as it would take to send them all
  expect(made).toBeLessThanOrEqual(5);
  let sum = 1;
  for await (const item of stream) sum += item;
  expect(sum).toBe(500_500);
});

test('whoever reads no more, cancels, or is lost ends the work on the other side', async () => {
  let ended = 0;
  const there: Served = {
    calls: {
      wait: (_: unknown, signal: AbortSignal) =>
        new Promise((resolve) =>
          signal.addEventListener('abort', () => {
            ended++;
            resolve(undefined);
          }),
        ),
    },
    streams: {
      async *ticks(_: unknown, signal: AbortSignal) {
        try {
          for (let i = 0; !signal.aborted; i++) yield i;
        } finally {
          ended++;
        }
      },
    },
  };
  const { here, cut } = pair(NOTHING, there);
  for await (const tick of here.stream<number>('ticks', {}, never)) if (tick === 50) break;
  await eventually('the stream has ended', () => ended === 1);
  const abort = new AbortController();
  const waiting = here.call('wait', {}, abort.signal);
  abort.abort();
  await expect(waiting).rejects.toMatchObject({ code: 'cancelled' });
  await eventually('the call has ended', () => ended === 2);
  const [last, reading] = [here.call('wait', {}), here.stream('ticks', {}, never)];
  await reading.next();
  cut();
  await expect(last).rejects.toMatchObject({ code: 'unavailable' });
  await eventually('all has ended', () => ended === 4);
  await expect(here.call('wait', {})).rejects.toMatchObject({ code: 'unavailable' });
});

test.each([
  ['no JSON', 'hello'],
  ['no frame', '{"t":"shout","id":1}'],
  ['a number below zero', '{"t":"call","id":-1,"method":"x"}'],
  ['no room', '{"t":"more","id":1,"room":0}'],
  ['null', 'null'],
])('a side that says %s is let go', async (_, text) => {
  const { here } = pair(NOTHING, NOTHING);
  here.receive(text);
  await expect(here.call('x', {})).rejects.toMatchObject({ code: 'unavailable' });
});

test('items that nobody gave room for end the session', async () => {
  const sent: string[] = [];
  const peer = createPeer({ send: async (text) => void sent.push(text), close: () => undefined }, NOTHING);
  const stream = peer.stream('flood', {}, never, 2);
  const first = stream.next();
  for (let i = 0; i < 5; i++) peer.receive(JSON.stringify({ t: 'item', id: 1, value: i }));
  await first.catch(() => undefined);
  await expect(peer.call('x', {})).rejects.toMatchObject({ code: 'unavailable' });
});
