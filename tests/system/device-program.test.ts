// The device program of a node as a process: killed at random under load, every message that was acknowledged reaches the
// file once.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes, scryptSync } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { FeedItem, FeedObject } from '@skerry/contract';
import { HubClient } from '@skerry/devices/client';
import { eventually } from '@skerry/testkit';
import mqtt from 'mqtt';
import { afterAll, expect, test } from 'vitest';
import { ROOT } from '../support/program.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-device-program-'));
const devices = join(folder, 'devices');
const socketPath = join(folder, 'hub.sock');
const client = new HubClient(socketPath);
const never = new AbortController().signal;
let child: ChildProcess | undefined;

async function begin(): Promise<void> {
  const words = [join(ROOT, 'dist/devices.mjs'), `--folder=${devices}`, `--socket=${socketPath}`];
  child = spawn(process.execPath, words, { stdio: ['ignore', 'ignore', 'inherit'] });
  await eventually('the program answers', () =>
    client.standing(AbortSignal.timeout(2000)).then(
      () => true,
      () => false,
    ),
  );
}
async function kill(): Promise<void> {
  const ended = once(child!, 'exit');
  child!.kill('SIGKILL');
  await ended;
}
afterAll(async () => {
  await kill();
  rmSync(folder, { recursive: true, force: true });
});

const salt = randomBytes(16);
const hash = scryptSync('secret', salt, 32, { N: 1024, r: 8, p: 1 });
const password = `scrypt$1024$8$1$${salt.toString('base64')}$${hash.toString('base64')}`;
const DEVICES = 4;
const objects: FeedObject[] = [
  ...Array.from(
    { length: DEVICES },
    (_, at): FeedObject => ({
      ...{ kind: 'device', project: 'default', name: `d${at}`, uid: `uid-d${at}`, labels: {}, spec: {} },
      credentials: { version: 1, password },
    }),
  ),
  {
    ...{ kind: 'stream', project: 'default', name: 'all', uid: 'uid-all', generation: 1 },
    spec: {
      from: { topics: ['devices/#'] },
      steps: [{ filter: 'keep' }],
      to: [{ file: { name: 'readings' } }, { series: { name: 'numbers', fields: ['number'] } }],
    },
  },
];
const filesBelow = (at: string): string[] =>
  existsSync(at)
    ? readdirSync(at, { withFileTypes: true }).flatMap((entry) =>
        entry.isDirectory() ? filesBelow(join(at, entry.name)) : [join(at, entry.name)],
      )
    : [];
/** How often each message is in the files, by the number that its device gave it. */
function written(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const path of filesBelow(join(devices, 'files')))
    for (const match of readFileSync(path, 'utf8').matchAll(/d\d-\d+-keep/g))
      counts.set(match[0], (counts.get(match[0]) ?? 0) + 1);
  return counts;
}

/** DEVICE_KILLS=100 takes half a minute. */
const KILLS = Number(process.env.DEVICE_KILLS ?? 10);
/** The program has it again after each kill: nobody chooses one anew. */
async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

test('killed again and again under load of QoS 1, what was acknowledged is in the file, each message once by its id', async () => {
  mkdirSync(devices, { recursive: true });
  await begin();
  const port = await freePort();
  await client.tell(
    { node: 'here', listen: [`mqtt://127.0.0.1:${port}`], addresses: ['127.0.0.1'], guests: [] },
    never,
  );
  await client.feed(
    objects.map((object, at): FeedItem => ({ type: 'put', revision: at + 1, object })),
    never,
  );
  const acknowledged = new Set<string>();
  let isOver = false;
  /** One message after the other; one that was not acknowledged is given up, and never sent again: it may come or not. */
  const publish = async (at: number) => {
    for (let number = 0; !isOver; ) {
      const session = await mqtt
        .connectAsync(
          `mqtt://127.0.0.1:${port}`,
          { username: `d${at}`, password: 'secret', reconnectPeriod: 0, connectTimeout: 5000 },
          false,
        )
        .catch(() => undefined);
      if (!session) {
        await pause(20);
        continue;
      }
      session.on('error', () => undefined);
      const closed = new Promise<void>((resolve) => session.once('close', () => resolve()));
      while (!isOver && session.connected) {
        const name = `d${at}-${number++}-keep`;
        const sent = session.publishAsync(
          `devices/d${at}/t`,
          JSON.stringify({ name, number, keep: number % 2 === 0 }),
          { qos: 1 },
        );
        sent.catch(() => undefined);
        const outcome = await Promise.race([
          sent.then(
            () => true,
            () => false,
          ),
          closed.then(() => false),
        ]);
        if (!outcome) break;
        if (number % 2 === 0) acknowledged.add(name);
      }
      session.end(true);
    }
  };
  const publishers = Array.from({ length: DEVICES }, (_, at) => publish(at));
  for (let round = 0; round < KILLS; round++) {
    const before = acknowledged.size;
    await eventually('some more were acknowledged', () => acknowledged.size > before + 20);
    await pause(Math.random() * 100); // anywhere
    await kill();
    await begin();
  }
  isOver = true;
  await Promise.all(publishers);
  expect(acknowledged.size).toBeGreaterThan(200);
  const missing = () => {
    const there = written();
    return [...acknowledged].filter((name) => !there.has(name));
  };
  await eventually('all that was acknowledged is in the file', () => missing().length === 0);
  expect([...written()].filter(([, count]) => count > 1)).toEqual([]);
  const last = async () => {
    const points: unknown[] = [];
    const call = { verb: 'series-last', project: 'default', series: 'numbers' } as const;
    for await (const point of client.call(call, never)) points.push(point);
    return points.length === DEVICES;
  };
  await eventually('the series has every device', last);
}, 180_000);
