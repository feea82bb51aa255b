// Sinks against real servers: mosquitto, HTTP, the file system.
import { spawn } from 'node:child_process';
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect as connectSocket, createServer as createNetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { eventually } from '@skerry/testkit';
import mqtt from 'mqtt';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NeverTaken, type Outgoing, type Sink } from '../ports.ts';
import { fileSink } from './file.ts';
import { mqttSink } from './mqtt.ts';
import { sinkKey } from './names.ts';
import { webhookSink } from './webhook.ts';

let folder: string;
let sink: Sink | undefined;
let server: Server | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'skerry-sinks-'));
});
afterEach(async () => {
  await sink?.close();
  sink = undefined;
  server?.closeAllConnections();
  server?.close();
  rmSync(folder, { recursive: true, force: true });
});
const message = (n: number, more: Partial<Outgoing> = {}): Outgoing => ({
  ...{ id: `m-${n}`, project: 'p', device: 'd1', topic: 'a/b', atMs: Date.UTC(2026, 0, 1) },
  ...{ payload: Buffer.from(JSON.stringify({ n })), ...more },
});
const messages = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, at) => message(from + at));
const signal = () => AbortSignal.timeout(20_000);

const lines = (name = 'out.jsonl') =>
  readFileSync(join(folder, name), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { id: string; value: unknown });

test('a file has a line for each message, none twice, also after a restart; a torn line is cut off', async () => {
  sink = fileSink(folder, { name: 'out' });
  await sink.deliver(messages(0, 3), signal());
  await sink.deliver(messages(2, 4), signal());
  await sink.close();
  appendFileSync(join(folder, 'out.jsonl'), '{"id":"m-9","dev');
  sink = fileSink(folder, { name: 'out' });
  await sink.deliver(messages(3, 6), signal());
  expect(lines().map(({ id }) => id)).toEqual(['m-0', 'm-1', 'm-2', 'm-3', 'm-4', 'm-5']);
  expect(lines()[0]).toEqual({
    id: 'm-0',
    device: 'd1',
    topic: 'a/b',
    time: '2026-01-01T00:00:00.000Z',
    value: { n: 0 },
  });
});

test('a file is changed at its limit, and so many are kept', async () => {
  sink = fileSink(folder, { name: 'out', rotate: '1KiB', keep: 3 });
  for (let at = 0; at < 100; at += 5) await sink.deliver(messages(at, at + 5), signal());
  expect(readdirSync(folder).sort()).toEqual(['out.1.jsonl', 'out.2.jsonl', 'out.jsonl']);
  const all = [...lines('out.2.jsonl'), ...lines('out.1.jsonl'), ...lines()].map(({ id }) =>
    Number(id.slice(2)),
  );
  expect(all.at(-1)).toBe(99);
  expect(all).toEqual(Array.from({ length: all.length }, (_, at) => 100 - all.length + at));
});

async function answering(answer: (request: IncomingMessage, body: Buffer, response: ServerResponse) => void) {
  server = createServer(async (request, response) => {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    answer(request, Buffer.concat(pieces), response);
  });
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/in`;
}

test('a webhook gets each message with its id and the token', async () => {
  const seen: unknown[] = [];
  const url = await answering(({ headers, method }, body, response) => {
    seen.push([
      method,
      headers['skerry-id'],
      headers['idempotency-key'],
      headers.authorization,
      headers['x-site'],
      body.toString(),
    ]);
    response.end();
  });
  sink = webhookSink({ url, token: 'geheim', headers: { 'x-site': 'harbour' } });
  await sink.deliver([message(1)], signal());
  expect(seen).toEqual([['POST', 'm-1', 'm-1', 'Bearer geheim', 'harbour', '{"n":1}']]);
});

test('what can pass is an error that is tried again; what can not is dropped by itself', async () => {
  let status = 503;
  const got: string[] = [];
  const url = await answering((_, body, response) => {
    const list = JSON.parse(gunzipSync(body).toString()) as { id: string }[];
    const bad = list.some(({ id }) => id === 'm-1');
    if (status === 200 && !bad) got.push(...list.map(({ id }) => id));
    response.writeHead(status === 200 && bad ? 422 : status).end();
  });
  sink = webhookSink({ url, batch: 10, compress: true });
  await expect(sink.deliver(messages(0, 3), signal())).rejects.toThrow('503');
  status = 429;
  await expect(sink.deliver(messages(0, 3), signal())).rejects.toThrow('429');
  status = 302;
  await expect(sink.deliver(messages(0, 3), signal())).rejects.toThrow('302');
  status = 200;
  const refused = await sink.deliver(messages(0, 3), signal()).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(NeverTaken);
  expect((refused as NeverTaken).id).toBe('m-1');
  await sink.deliver([message(0), message(2)], signal());
  expect([...new Set(got)]).toEqual(['m-0', 'm-2']);
});

async function freePort(): Promise<number> {
  const probe = createNetServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
async function mosquitto(port: number) {
  const config = join(folder, 'mosquitto.conf');
  writeFileSync(config, `listener ${port} 127.0.0.1\nallow_anonymous true\nuser root\n`);
  const child = spawn('mosquitto', ['-c', config], { stdio: 'ignore' });
  await eventually(
    'mosquitto listens',
    () =>
      new Promise<boolean>((resolve) => {
        const socket = connectSocket(port, '127.0.0.1', () => {
          socket.destroy();
          resolve(true);
        });
        socket.once('error', () => resolve(false));
      }),
  );
  const ears = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, {
    protocolVersion: 5,
    reconnectPeriod: 0,
  });
  return {
    ears,
    async end() {
      ears.end(true);
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
    },
  };
}

test('mosquitto upstream gets each message in order with its id, also after it was away; batches compressed', async () => {
  const port = await freePort();
  let upstream = await mosquitto(port);
  try {
    const heard: [string, string, unknown][] = [];
    const listen = async () => {
      upstream.ears.on('message', (topic, payload, packet) =>
        heard.push([topic, payload.toString(), packet.properties?.userProperties?.['skerry-id']]),
      );
      await upstream.ears.subscribeAsync('up/#', { qos: 1 });
    };
    await listen();
    sink = mqttSink({ url: `mqtt://127.0.0.1:${port}`, topic: 'up/%p/%d/%t' }, { clientId: 'node-stream' });
    await sink.deliver(messages(0, 20), signal());
    await eventually('twenty', () => heard.length === 20);
    expect(heard).toEqual(
      messages(0, 20).map(({ id, payload }) => ['up/p/d1/a/b', Buffer.from(payload).toString(), id]),
    );
    await upstream.end();
    await expect(sink.deliver(messages(20, 21), signal())).rejects.toThrow('upstream');
    upstream = await mosquitto(port);
    await listen();
    await sink.deliver(messages(20, 21), signal());
    await eventually('one more', () => heard.length === 21);
    await sink.close();
    upstream.ears.removeAllListeners('message');
    const batches: Buffer[] = [];
    upstream.ears.on('message', (_, payload) => batches.push(payload));
    sink = mqttSink(
      { url: `mqtt://127.0.0.1:${port}`, topic: 'up/all', batch: 50, compress: true },
      { clientId: 'n2' },
    );
    await sink.deliver(messages(0, 50), signal());
    await eventually('a batch', () => batches.length === 1);
    const list = JSON.parse(gunzipSync(batches[0]!).toString()) as { id: string }[];
    expect(list.map(({ id }) => id)).toEqual(messages(0, 50).map(({ id }) => id));
  } finally {
    await upstream.end();
  }
});

test('a sink is told by its target', () => {
  expect(sinkKey({ mqtt: { url: 'mqtt://a', topic: 't', password: 'x' } })).toBe(
    sinkKey({ mqtt: { url: 'mqtt://a', topic: 't', qos: 2 } }),
  );
  expect(sinkKey({ file: { name: 'a' } })).not.toBe(sinkKey({ file: { name: 'b' } }));
});
