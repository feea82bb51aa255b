// What a guest wrote in the run before is kept, once, until the guest is gone.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Id } from '@skerry/model';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { moveLog } from './move-log.ts';
import type { Runtime } from './port.ts';
import { PreviousLogs } from './previous-logs.ts';

const uid = '018f0000-0000-7000-8000-000000000001' as Id<'instance'>;
let dataDir: string;
let logs: PreviousLogs;
const { signal } = new AbortController();

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'skerry-previous-'));
  mkdirSync(join(dataDir, 'guest'));
  logs = new PreviousLogs(dataDir);
});
afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

const wrote = (text: string, name = 'log') =>
  writeFileSync(join(dataDir, 'guest', name), `${Date.now()} o ${text}\n`);
/** Moves the files of the guest; ends with an error before that or after, where it is told to. */
const runtime = (cut?: 'before' | 'after') =>
  ({
    async keepLog(_uid: unknown, folder: string) {
      if (cut === 'before') throw new Error('cut');
      moveLog(join(dataDir, 'guest'), folder);
      if (cut === 'after') throw new Error('cut');
    },
  }) as unknown as Runtime;
const read = async () => {
  const texts: string[] = [];
  for await (const { text } of logs.read(uid, {}, signal)) texts.push(text);
  return texts;
};

test('the log of the run before is read, older file first, and the run before that is forgotten', async () => {
  expect(await read()).toEqual([]);
  wrote('old', 'log.1');
  wrote('panic');
  await logs.keep(runtime(), uid, '1', signal);
  expect(await read()).toEqual(['old', 'panic']);
  wrote('second');
  await logs.keep(runtime(), uid, '2', signal);
  expect(await read()).toEqual(['second']);
});

test('following it ends: no more comes', async () => {
  wrote('panic');
  await logs.keep(runtime(), uid, '1', signal);
  const texts: string[] = [];
  for await (const { text } of logs.read(uid, { follow: true, tail: 1 }, signal)) texts.push(text);
  expect(texts).toEqual(['panic']);
});

test('a run that is kept twice is kept once, and one that wrote nothing shows nothing of an older one', async () => {
  wrote('first');
  await logs.keep(runtime(), uid, '1', signal);
  await logs.keep(runtime(), uid, '1', signal);
  expect(await read()).toEqual(['first']);
  await logs.keep(runtime(), uid, '2', signal);
  expect(await read()).toEqual([]);
});

test.each(['before', 'after'] as const)(
  'cut off %s the files were moved, the next try has it whole',
  async (cut) => {
    wrote('zero');
    await logs.keep(runtime(), uid, '0', signal);
    wrote('first');
    await expect(logs.keep(runtime(cut), uid, '1', signal)).rejects.toThrow('cut');
    await new PreviousLogs(dataDir).keep(runtime(), uid, '1', signal);
    expect(await read()).toEqual(['first']);
  },
);

test('with its guest it goes, also what is of guests that nobody knows any more', async () => {
  wrote('first');
  await logs.keep(runtime(), uid, '1', signal);
  await expect(logs.keep(runtime('after'), uid, '2', signal)).rejects.toThrow('cut');
  logs.retain(() => true);
  expect(await read()).toEqual(['first']);
  logs.retain(() => false);
  expect(readdirSync(join(dataDir, 'previous-logs'))).toEqual([]);
  logs.remove(uid);
  expect(existsSync(join(dataDir, 'previous-logs', uid))).toBe(false);
});
