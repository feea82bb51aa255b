// What the node knows of devices and streams, and that it knows it after a restart.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FeedDevice, FeedItem } from '@skerry/contract';
import Database from 'better-sqlite3';
import { afterAll, expect, test } from 'vitest';
import { type Change, Directory } from './directory.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-directory-'));
let number = 0;
const fresh = () => join(folder, String(number++));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const device = (name: string, more: Partial<FeedDevice> = {}): FeedDevice => ({
  ...{ kind: 'device', project: 'default', name, uid: `uid-${name}`, labels: {}, spec: {} },
  credentials: { version: 1 },
  ...more,
});
const put = (revision: number, object: FeedDevice): FeedItem => ({ type: 'put', revision, object });
const names = (directory: Directory) => [...directory.all('device')].map(({ name }) => name).sort();

test('what was told is known after a restart, and the revision to resume from', () => {
  const path = fresh();
  const before = new Directory(path);
  expect(before.apply([put(4, device('a')), put(5, device('b')), { type: 'synced', revision: 7 }])).toBe(7);
  before.report(device('a'), { version: 3, atMs: 5, state: { on: true } });
  before.close();
  const after = new Directory(path);
  expect(names(after)).toEqual(['a', 'b']);
  expect(after.revision).toBe(7);
  expect(after.reported(device('a'))).toMatchObject({ version: 3, atMs: 5, state: { on: true } });
  expect(after.reported(device('a', { uid: 'another' }))).toBeUndefined();
  after.close();
});

test('of a revision that may have more changes, the one before it is resumed from', () => {
  const directory = new Directory(fresh());
  expect(directory.apply([put(9, device('a'))])).toBe(8);
  expect(directory.apply([put(9, device('b'))])).toBe(8);
  expect(directory.apply([{ type: 'synced', revision: 9 }])).toBe(9);
  directory.close();
});

test('a beginning anew keeps what is there until all was told; one that is cut off begins again', () => {
  const path = fresh();
  const directory = new Directory(path);
  directory.apply([put(1, device('a')), put(2, device('b')), { type: 'synced', revision: 2 }]);
  const heard: Change[] = [];
  directory.onChange((changes) => heard.push(...changes));
  expect(directory.apply([{ type: 'reset' }, put(3, device('a'))])).toBe(0);
  expect(names(directory)).toEqual(['a', 'b']);
  directory.apply([put(4, device('c')), { type: 'synced', revision: 8 }]);
  expect(names(directory)).toEqual(['a', 'c']);
  expect(heard.filter(({ type }) => type === 'delete').map(({ before }) => before?.name)).toEqual(['b']);
  expect(directory.revision).toBe(8);
  directory.close();
});

test('of several changes of one thing listeners hear the last, with what was before the first', () => {
  const directory = new Directory(fresh());
  const heard: Change[] = [];
  directory.onChange((changes) => heard.push(...changes));
  const gone: FeedItem = { type: 'delete', revision: 3, kind: 'device', project: 'default', name: 'a' };
  directory.apply([put(1, device('a')), put(2, device('a', { labels: { x: '1' } })), gone]);
  expect(heard).toEqual([]);
  directory.apply([put(4, device('a'))]);
  directory.apply([put(5, device('a', { labels: { x: '2' } })), put(6, device('a', { labels: { x: '3' } }))]);
  expect(heard).toMatchObject([
    { type: 'put', before: undefined },
    { type: 'put', before: { labels: {} }, object: { labels: { x: '3' } } },
  ]);
  directory.close();
});

test('a file that is damaged is set aside, and all is asked for anew', () => {
  const path = fresh();
  const before = new Directory(path);
  before.apply([put(4, device('a')), { type: 'synced', revision: 7 }]);
  before.close();
  const file = join(path, 'directory.db');
  const bytes = readFileSync(file);
  for (const damage of [Buffer.alloc(bytes.length, 'x'), bytes.subarray(0, 5000).fill(7, 4096)]) {
    writeFileSync(file, damage);
    const after = new Directory(path);
    expect([after.revision, names(after)]).toEqual([0, []]);
    after.apply([put(4, device('a')), { type: 'synced', revision: 7 }]);
    after.close();
  }
  expect(existsSync(`${file}.damaged`)).toBe(true);
});

test('what can not be written is not believed either, and all is asked for anew', () => {
  const path = fresh();
  const directory = new Directory(path);
  directory.apply([put(1, device('a')), { type: 'synced', revision: 1 }]);
  let heard = 0;
  directory.onChange(() => heard++);
  const other = new Database(join(path, 'directory.db'), { timeout: 0 });
  other.exec("CREATE TRIGGER full BEFORE INSERT ON objects BEGIN SELECT RAISE(ABORT, 'full'); END");
  const more = [put(2, device('a', { labels: { x: '1' } })), put(3, device('b'))];
  expect(() => directory.apply(more)).toThrow('full');
  expect([names(directory), directory.device('default', 'a')?.labels, heard]).toEqual([['a'], {}, 0]);
  expect(directory.revision).toBe(0);
  other.exec('DROP TRIGGER full');
  other.close();
  directory.apply([{ type: 'reset' }, ...more, { type: 'synced', revision: 3 }]);
  expect([names(directory), heard]).toEqual([['a', 'b'], 1]);
  directory.close();
});
