// Device data through the real program: devices and streams by manifest, messages by real clients, the device program and the
// program itself killed under load.
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { createClient } from '@skerry/contract';
import { processesWithArgument, signalProcess, waitForEnd } from '@skerry/host';
import { eventually } from '@skerry/testkit';
import mqtt from 'mqtt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Program, startProgram } from '../support/program.ts';

const DEVICES = ['boiler', 'press'];
const MANIFEST = `
${DEVICES.map((name) => `apiVersion: skerry/v1\nkind: Device\nmetadata: { name: ${name} }\nspec: {}\n---`).join('\n')}
apiVersion: skerry/v1
kind: Stream
metadata: { name: hot }
spec:
  from: { topics: ['devices/+/t'] }
  steps:
    - filter: celsius > 50
  to:
    - file: { name: hot }
---
apiVersion: skerry/v1
kind: Stream
metadata: { name: means }
spec:
  from: { topics: ['devices/+/t'] }
  steps:
    - window: { every: 1s, aggregates: { mean: { of: celsius, use: mean } } }
  to:
    - series: { name: means }
`;
let skerry: Program;
const passwords = new Map<string, string>();
const folder = () => join(skerry.dataDir, 'devices');
const programs = () => processesWithArgument(`--folder=${folder()}`);
const pub = promisify(execFile);

interface Listening {
  readonly listening: readonly string[];
}
async function urlOf(protocol: string): Promise<URL> {
  const path = join(folder(), 'listening.json');
  const found = await eventually(`devices can come in by ${protocol}`, () => {
    if (!existsSync(path)) return undefined;
    const { listening } = JSON.parse(readFileSync(path, 'utf8')) as Listening;
    return listening.find((url) => url.startsWith(`${protocol}://127.0.0.1:`));
  });
  return new URL(found.replace(protocol, 'http'));
}
/** The client is made for each question: the program at the other end changes. */
async function ask<T>(work: (client: ReturnType<typeof createClient>) => Promise<T>): Promise<T> {
  const client = createClient({ socketPath: join(skerry.dataDir, 'api.sock') });
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}
const lines = (): string[] =>
  existsSync(join(folder(), 'files/default/hot'))
    ? readdirSync(join(folder(), 'files/default/hot')).flatMap((name) =>
        readFileSync(join(folder(), 'files/default/hot', name), 'utf8')
          .trim()
          .split('\n'),
      )
    : [];
const inFile = (word: string) => lines().filter((line) => line.includes(`"${word}"`)).length;

beforeAll(async () => {
  const at = (protocol: string) => ['--devices', `${protocol}://127.0.0.1:0`];
  skerry = await startProgram({ args: [...at('mqtts'), ...at('mqtt'), ...at('https')] });
});
afterAll(async () => {
  expect(await skerry.purge()).toEqual([]);
});

test('without a device there is no program for them; with one there is, and it tells where it listens', async () => {
  expect(programs()).toEqual([]);
  const path = join(skerry.dataDir, 'devices.yaml');
  writeFileSync(path, MANIFEST);
  await skerry.run('apply', '-f', path);
  for (const name of DEVICES) {
    const answer = await ask((client) => client.device.rotate({ project: 'default', name, body: {} }));
    passwords.set(name, /"password":"([^"]+)"/.exec(JSON.stringify(answer))![1]!);
  }
  for (const protocol of ['mqtts', 'mqtt', 'https']) await urlOf(protocol);
  expect(programs()).toHaveLength(1);
  for (const word of passwords.values())
    expect(readFileSync(`/proc/${programs()[0]!.pid}/cmdline`, 'utf8')).not.toContain(word);
});

test('mosquitto_pub over TLS and curl over HTTPS reach a stream, by the authority that devices trust', async () => {
  const ca = join(folder(), 'tls/ca.crt');
  const secret = passwords.get('boiler')!;
  const { port } = await urlOf('mqtts');
  const words = ['-h', '127.0.0.1', '-p', port, '--cafile', ca, '-u', 'boiler', '-P', secret, '-q', '1'];
  const send = (message: string) => pub('mosquitto_pub', [...words, '-t', 'devices/boiler/t', '-m', message]);
  await eventually('it is let in', () =>
    send('{"celsius": 90, "name": "by-mqtt"}').then(
      () => true,
      () => false,
    ),
  );
  await send('{"celsius": 9, "name": "cold"}');
  const url = new URL('/v1/projects/default/devices/boiler/messages', await urlOf('https'));
  url.protocol = 'https';
  const body = JSON.stringify({ topic: 'devices/boiler/t', payload: { celsius: 91, name: 'by-http' } });
  const { stdout } = await pub('curl', [
    '-sS',
    '--cacert',
    ca,
    '-u',
    `boiler:${secret}`,
    '-d',
    body,
    String(url),
  ]);
  expect(JSON.parse(stdout)).toEqual({ accepted: 1 });
  await eventually('both are in the file', () => inFile('by-mqtt') > 0 && inFile('by-http') > 0);
  expect(inFile('cold')).toBe(0);
});

test('killed under load, the device program and the program itself: what was acknowledged is in the file once', async () => {
  const { port } = await urlOf('mqtt');
  const acknowledged = new Set<string>();
  let isOver = false;
  const publish = async (device: string) => {
    for (let number = 0; !isOver; ) {
      // the port may be another one after a restart
      const at = await urlOf('mqtt').catch(() => undefined);
      const session = await mqtt
        .connectAsync(
          `mqtt://127.0.0.1:${at?.port ?? port}`,
          { username: device, password: passwords.get(device)!, reconnectPeriod: 0, connectTimeout: 5000 },
          false,
        )
        .catch(() => undefined);
      if (!session) {
        await pause(50);
        continue;
      }
      session.on('error', () => undefined);
      const closed = new Promise<void>((resolve) => session.once('close', () => resolve()));
      while (!isOver && session.connected) {
        const name = `${device}-${number++}`;
        const sent = session
          .publishAsync(`devices/${device}/t`, JSON.stringify({ celsius: 60, name }), { qos: 1 })
          .then(
            () => true,
            () => false,
          );
        if (!(await Promise.race([sent, closed.then(() => false)]))) break;
        acknowledged.add(name);
      }
      session.end(true);
    }
  };
  const publishers = DEVICES.map(publish);
  const more = async () => {
    const before = acknowledged.size;
    await eventually('more is acknowledged', () => acknowledged.size > before + 30, { withinMs: 60_000 });
  };
  for (const victim of ['program', 'agent', 'program', 'agent'] as const) {
    await more();
    const [running] = programs();
    if (victim === 'program') {
      signalProcess(running!, 'SIGKILL');
      await waitForEnd(running!, 10_000);
    } else {
      await skerry.kill();
      await more(); // devices do not notice
      await skerry.up();
      expect(programs()).toEqual([running]);
    }
  }
  await more();
  isOver = true;
  await Promise.all(publishers);
  await eventually('all that was acknowledged is in the file', () => {
    const found = new Set(lines().map((line) => /"name":"([^"]+)"/.exec(line)?.[1]));
    const missing = [...acknowledged].filter((name) => !found.has(name));
    if (missing.length > 0)
      throw new Error(`${missing.length} of ${acknowledged.size} are not: ${missing.slice(0, 20).join(' ')}`);
    return true;
  });
  const ids = lines().map((line) => (JSON.parse(line) as { id: string }).id);
  expect(new Set(ids).size).toBe(ids.length);
}, 240_000);

test('the controller knows who is connected, and what a stream did', async () => {
  const { port } = await urlOf('mqtt');
  const session = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, {
    username: 'press',
    password: passwords.get('press')!,
  });
  try {
    const show = () => ask((client) => client.device.show({ project: 'default', name: 'press' }));
    await eventually('it is connected', async () => (await show()).status.connected);
    const stream = () => ask((client) => client.stream.show({ project: 'default', name: 'hot' }));
    await eventually('its stream took messages', async () =>
      (await stream()).status.nodes.some(({ received, waiting }) => received > 0 && waiting === 0),
    );
  } finally {
    session.end(true);
  }
});

test('when the last device and the last stream go, the program goes, and so it does with `down`', async () => {
  for (const name of ['hot', 'means'])
    await ask((client) => client.stream.delete({ project: 'default', name }));
  for (const name of DEVICES) await ask((client) => client.device.delete({ project: 'default', name }));
  await eventually('it is gone', () => programs().length === 0);
  await skerry.run('apply', '-f', join(skerry.dataDir, 'devices.yaml'));
  await eventually('it is there again', () => programs().length === 1);
  await skerry.run('down');
  expect(programs()).toEqual([]);
  await skerry.up();
  await eventually('it is there again, by what the node knows', () => programs().length === 1);
});
