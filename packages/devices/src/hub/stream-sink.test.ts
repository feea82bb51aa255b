// What one stream sends to another: all of it, in order, also where the other one is full for a while.
import { expect, test } from 'vitest';
import type { Item } from '../message.ts';
import { Busy, type Outgoing } from '../ports.ts';
import { createStreamSink } from './stream-sink.ts';

const outgoing = (number: number): Outgoing => ({
  ...{ id: `m${number}`, project: 'p', device: 'd', topic: 't', atMs: number },
  payload: Buffer.from(String(number)),
});
const never = new AbortController().signal;

test('a stream that is full takes the rest later, and nothing twice', async () => {
  const taken: string[] = [];
  let room = 3;
  const sink = createStreamSink('next', async (name, items: readonly Item[]) => {
    if (room === 0) {
      setTimeout(() => {
        room = 10;
      }, 20);
      throw new Busy('full');
    }
    room--;
    taken.push(...items.map(({ id }) => `${name} ${id}`));
  });
  await sink.deliver(
    Array.from({ length: 8 }, (_, at) => outgoing(at)),
    never,
  );
  expect(taken).toEqual(Array.from({ length: 8 }, (_, at) => `next m${at}`));
});

test('one that is gone is an error, and waiting for one that is full ends with its stream', async () => {
  const gone = createStreamSink('gone', () => Promise.reject(new Error('no such stream')));
  await expect(gone.deliver([outgoing(1)], never)).rejects.toThrow('no such stream');
  const full = createStreamSink('full', () => Promise.reject(new Busy('full')));
  await expect(full.deliver([outgoing(1)], AbortSignal.timeout(50))).rejects.toThrow();
});
