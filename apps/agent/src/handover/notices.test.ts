import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { DesiredInstance, HandoverNotice } from '@skerry/contract';
import { expect, test } from 'vitest';
import { HandoverNotices } from './notices.ts';
import { type Posted, postToGuest } from './post.ts';

const quiet = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

const move = (client: string, handovers = 1): HandoverNotice['moves'][number] => ({
  ...{ client, from: 'tower-1', to: 'tower-2', at: '2026-01-01T00:00:00Z', handovers },
});
const instance = (name: string, change: object = {}) =>
  ({
    ...{ uid: name, name, project: 'default', generation: 1, deleted: false },
    spec: {
      ...{ workloadUid: 'w', network: { address: `address of ${name}` } },
      template: { runtime: 'container', onHandover: { port: 80, path: '/moved' }, ...change },
    },
  }) as unknown as DesiredInstance;

class Bench {
  nowMs = 0;
  #timers: { atMs: number; call: () => void }[] = [];
  readonly running = new Set<string>();
  readonly asked: string[] = [];
  answer: (host: string, client: string) => Posted = () => 'taken';
  warnings = 0;
  instances: DesiredInstance[] = [];
  readonly notices = new HandoverNotices({
    instances: () => this.instances,
    isRunning: (uid) => this.running.has(uid),
    post: async ({ host, port, path }, body) => {
      const { client, handovers } = JSON.parse(body) as { client: string; handovers: number };
      this.asked.push(`${host}:${port}${path} ${client} ${handovers}`);
      return this.answer(host, client);
    },
    clock: {
      nowMs: () => this.nowMs,
      monotonicMs: () => this.nowMs,
      after: (ms, call) => {
        const timer = { atMs: this.nowMs + ms, call };
        this.#timers.push(timer);
        return () => {
          this.#timers = this.#timers.filter((one) => one !== timer);
        };
      },
    },
    logger: { ...quiet, warn: () => this.warnings++ },
    ending: new AbortController().signal,
  });

  wish(...moves: HandoverNotice['moves'][number][]): void {
    this.notices.wish(moves.length === 0 ? [] : [{ workloadUid: 'w', moves }]);
  }

  async go(ms = 0): Promise<void> {
    const until = this.nowMs + ms;
    for (;;) {
      for (let turn = 0; turn < 50; turn++) await Promise.resolve();
      const next = this.#timers.sort((a, b) => a.atMs - b.atMs)[0];
      if (!next || next.atMs > until) break;
      this.#timers.shift();
      this.nowMs = next.atMs;
      next.call();
    }
    this.nowMs = until;
  }
}

test('each instance hears of each client once, when it runs, and again with the next move', async () => {
  const bench = new Bench();
  bench.instances = [instance('a'), instance('b'), instance('deaf', { onHandover: undefined })];
  bench.running.add('a');
  bench.wish(move('phone'), move('truck'));
  await bench.go(60_000);
  expect(bench.asked.sort()).toEqual(['address of a:80/moved phone 1', 'address of a:80/moved truck 1']);
  bench.running.add('b');
  bench.notices.changed();
  bench.wish(move('phone', 2), move('truck'));
  await bench.go(60_000);
  expect(bench.asked.slice(2).sort()).toEqual([
    'address of a:80/moved phone 2',
    'address of b:80/moved phone 1',
    'address of b:80/moved phone 2',
    'address of b:80/moved truck 1',
  ]);
});

test('who does not answer is asked again, ever later, a few times; who refuses is not; a later move takes its place', async () => {
  const bench = new Bench();
  bench.instances = [instance('a')];
  bench.running.add('a');
  bench.answer = (_, client) => (client === 'phone' ? 'unanswered' : 'refused');
  bench.wish(move('phone'), move('truck'));
  await bench.go(2500);
  expect(bench.asked).toEqual([
    'address of a:80/moved phone 1',
    'address of a:80/moved truck 1',
    'address of a:80/moved phone 1',
  ]);
  bench.wish(move('phone', 2));
  await bench.go(3_600_000);
  expect(bench.asked.filter((one) => one.endsWith('phone 2'))).toHaveLength(10);
  expect(bench.asked.filter((one) => one.endsWith('phone 1'))).toHaveLength(2);
  expect(bench.warnings).toBe(2);
});

test('not many are asked at once, and an instance that is gone is not asked any more', async () => {
  const bench = new Bench();
  bench.instances = [instance('a')];
  bench.running.add('a');
  let open = 0;
  let most = 0;
  const waiting: (() => void)[] = [];
  const slow = new HandoverNotices({
    ...{ instances: () => bench.instances, isRunning: () => true, ending: new AbortController().signal },
    post: () => {
      most = Math.max(most, ++open);
      return new Promise((resolve) =>
        waiting.push(() => {
          open--;
          resolve('taken');
        }),
      );
    },
    clock: { nowMs: () => 0, monotonicMs: () => 0, after: () => () => undefined },
    logger: quiet,
  });
  slow.wish([{ workloadUid: 'w', moves: Array.from({ length: 50 }, (_, at) => move(`c${at}`)) }]);
  await bench.go();
  expect(most).toBe(8);
  for (const answer of waiting.splice(0, 8)) answer();
  await bench.go();
  expect(waiting).toHaveLength(8);
  bench.instances = [];
  slow.changed();
  for (const answer of waiting.splice(0, 8)) answer();
  await bench.go();
  expect(waiting).toHaveLength(0);
});
test('a guest is asked by HTTP, and its answer is understood', async () => {
  const heard: string[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (data) => {
      body += data;
    });
    request.on('end', () => {
      heard.push(`${request.method} ${request.url} ${request.headers['content-type']} ${body}`);
      const code = Number(request.url!.slice(1));
      response.writeHead(code, { location: 'http://127.0.0.1:1/' }).end();
    });
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  const ask = (path: string, at = port) =>
    postToGuest({ host: '127.0.0.1', port: at, path }, '{"a":1}', AbortSignal.timeout(10_000));
  try {
    const answers = [];
    for (const code of [204, 302, 404, 429, 503]) answers.push(await ask(`/${code}`));
    expect(answers).toEqual(['taken', 'refused', 'refused', 'unanswered', 'unanswered']);
    expect(heard[0]).toBe('POST /204 application/json {"a":1}');
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
  expect(await ask('/204')).toBe('unanswered');
});
