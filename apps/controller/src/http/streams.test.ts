import type { WatchMessage } from '@skerry/contract';
import type { Workload } from '@skerry/model';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { eventually, type Harness, startHarness, workload } from '../testing/harness.ts';

const project = 'default';
let harness: Harness;
beforeEach(async () => {
  harness = await startHarness({ engine: 'sqlite' });
});
afterEach(async () => {
  const { errors } = harness;
  await harness.close();
  expect(errors).toEqual([]);
});
const put = (name: string, spec: object = {}, metadata: object = {}) =>
  harness.client.workload.put({ project, name, body: workload(name, { replicas: 0, ...spec }, metadata) });

/** Reads a watch in the background. */
function follow(input: object = {}) {
  const abort = new AbortController();
  const messages: WatchMessage<Workload>[] = [];
  const ended = (async () => {
    for await (const message of harness.client.watch(
      'workload.list',
      { project, ...input },
      { signal: abort.signal },
    ))
      messages.push(message);
  })();
  const told = () =>
    messages.map((message) =>
      message.type === 'put'
        ? `put ${message.object.metadata.name}`
        : message.type === 'delete'
          ? `delete ${message.name}`
          : message.type,
    );
  const stop = () => {
    abort.abort();
    return ended;
  };
  return { messages, told, stop };
}

test('a watch begins with what there is, then tells each change, in order, with its revision', async () => {
  await put('a');
  const watch = follow();
  await eventually(
    async () => watch.told(),
    (told) => told.includes('synced'),
  );
  await put('b');
  await put('a', { env: { X: '1' } });
  await harness.client.workload.delete({ project, name: 'b' });
  await eventually(
    async () => watch.told(),
    (told) => told.includes('delete b'),
  );
  await watch.stop();
  expect(watch.told()).toEqual(['put a', 'synced', 'put b', 'put a', 'delete b']);
  const revisions = watch.messages.map((message) => ('revision' in message ? message.revision : 0));
  expect(revisions).toEqual([...revisions].sort((x, y) => x - y));
});

test('a watch resumes from a revision, and the client resumes by itself when the controller restarts', async () => {
  const first = await put('a');
  await put('b');
  const watch = follow({ since: first.metadata.revision });
  await eventually(
    async () => watch.told(),
    (told) => told.includes('put b'),
  );
  await harness.restart();
  await put('c');
  await eventually(
    async () => watch.told(),
    (told) => told.includes('put c'),
  );
  await watch.stop();
  expect(watch.told()).toEqual(['put b', 'put c']);
});

test('a watch with a selector sees what comes to fit and what no longer does', async () => {
  const watch = follow({ selector: 'tier=front' });
  await eventually(
    async () => watch.told(),
    (told) => told.includes('synced'),
  );
  await put('a');
  await put('a', {}, { labels: { tier: 'front' } });
  await put('a', {}, { labels: { tier: 'back' } });
  await put('b', {}, { labels: { tier: 'front' } });
  await eventually(
    async () => watch.told(),
    (told) => told.includes('put b'),
  );
  await watch.stop();
  expect(watch.told()).toEqual(['synced', 'put a', 'delete a', 'put b']);
});

test('a revision that is no longer remembered: the client says reset and begins anew', async () => {
  await put('a');
  await put('b');
  await harness.store.compact(await harness.store.revision());
  const watch = follow({ since: 1 });
  await eventually(
    async () => watch.told(),
    (told) => told.includes('synced'),
  );
  await watch.stop();
  expect(watch.told()).toEqual(['reset', 'put a', 'put b', 'synced']);
});

test('events are numbered, filtered, resumed, and survive a restart', async () => {
  await put('a', { replicas: 1 });
  harness.node!.phases.set('b-0', 'failed');
  await put('b', { replicas: 1 });
  const failed = await eventually(
    () => harness.client.event.list({ kind: 'instance', name: 'b' }),
    ({ items }) => items.length > 0,
  );
  expect(failed.items[0]).toMatchObject({
    type: 'warning',
    reason: 'Failed',
    message: 'it failed',
    about: { kind: 'Instance', project, name: 'b-0' },
  });
  const all = await harness.client.event.list();
  expect(all.items.map(({ sequence }) => sequence)).toEqual(all.items.map((_, i) => i + 1));
  const rest = await harness.client.event.list({ since: 2 });
  expect(rest.items[0]!.sequence).toBe(3);

  await harness.restart();
  const abort = new AbortController();
  const seen: number[] = [];
  const watch = (async () => {
    for await (const message of harness.client.watch(
      'event.list',
      { since: all.sequence },
      { signal: abort.signal },
    )) {
      if (message.type === 'put') seen.push(message.object.sequence);
    }
  })();
  await put('c');
  await eventually(
    async () => seen,
    (list) => list.length > 0,
  );
  abort.abort();
  await watch;
  expect(seen[0]).toBe(all.sequence + 1);
});

test('logs are lines, of a workload or of one instance; what goes wrong before the first is a plain error', async () => {
  await put('a', { replicas: 1 });
  await eventually(
    () => harness.client.workload.show({ project, name: 'a' }),
    ({ status }) => status.ready === 1,
  );
  const lines: string[] = [];
  for await (const { text } of harness.client.workload.logs({ project, name: 'a', tail: 2 }))
    lines.push(text);
  expect(lines).toEqual(['line 0', 'line 1']);
  const abort = new AbortController();
  const followed: string[] = [];
  for await (const { text } of harness.client.instance.logs(
    { project, name: 'a-0', follow: true },
    { signal: abort.signal },
  )) {
    followed.push(text);
    if (followed.length === 3) abort.abort();
  }
  expect(followed).toHaveLength(3);
  const read = async (name: string) => {
    for await (const _ of harness.client.workload.logs({ project, name })) break;
  };
  await expect(read('none')).rejects.toMatchObject({ code: 'not_found' });
  await put('empty');
  await expect(read('empty')).rejects.toMatchObject({ code: 'guest_not_running' });
  expect(await harness.client.instance.stats({ project, name: 'a-0' })).toEqual({
    cpuMs: 12,
    memoryBytes: 34,
  });
});

test('exec carries input, both outputs, the size of the terminal and the exit code', async () => {
  await put('a', { replicas: 1 });
  await eventually(
    () => harness.client.workload.show({ project, name: 'a' }),
    ({ status }) => status.ready === 1,
  );
  const session = await harness.client.workload.exec({
    project,
    name: 'a',
    command: ['sh', '-c'],
    terminal: true,
    columns: 80,
    rows: 24,
  });
  session.write(Buffer.from('hello'));
  session.resize(100, 30);
  session.closeInput();
  const text: Record<string, string> = { stdout: '', stderr: '' };
  for await (const { stream, data } of session.output) text[stream] += Buffer.from(data).toString();
  expect(await session.exit).toBe(7);
  expect(text).toEqual({ stdout: 'sh -c true 80\nhello100x30', stderr: 'bye' });
  await expect(
    harness.client.workload.exec({ project, name: 'a', command: ['missing'] }),
  ).rejects.toMatchObject({ code: 'exec_failed' });
  await expect(harness.client.workload.exec({ project, name: 'none', command: ['x'] })).rejects.toMatchObject(
    { code: 'not_found' },
  );
});

test('a console answers, and ends when it is closed', async () => {
  await put('a', { replicas: 1 });
  await eventually(
    () => harness.client.workload.show({ project, name: 'a' }),
    ({ status }) => status.ready === 1,
  );
  const session = await harness.client.instance.console({ project, name: 'a-0' });
  session.write(Buffer.from('root\n'));
  let text = '';
  for await (const { data } of session.output) {
    text += Buffer.from(data).toString();
    if (text.includes('root')) session.close();
  }
  expect(text).toBe('login: root\n');
});
