/**
 * The broker beside mosquitto under the same load: 200 publishers that each wait for the acknowledgement of 200 bytes at QoS 1, alone
 * and with a subscriber of all; ours once as mosquitto does it (acknowledged from memory), once with every message on the disk
 * before its acknowledgement. And 10,000 devices that are connected and silent.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LoadRequest, LoadResult } from './mqtt-load.ts';
import { rssBytes } from './processes.ts';
import type { Finding } from './report.ts';
import { digits, median } from './statistics.ts';

const LOAD = { publishers: 200, payloadBytes: 200, warmMs: 1000, measureMs: 3000 } as const;
const ROUNDS = 5;
const IDLE_DEVICES = 10_000;

const heard = <T>(child: ChildProcess): Promise<T> =>
  new Promise((resolve, reject) => {
    child.once('message', (message) => resolve(message as T));
    child.once('exit', (code) => reject(new Error(`it ended with ${code}`)));
  });
const beside = (name: string): string => join(import.meta.dirname, name);

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
async function listens(port: number): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    const there = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true));
      socket.once('error', () => resolve(false)).once('connect', () => socket.destroy());
    });
    if (there) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('mosquitto does not listen');
}

interface Running {
  readonly port: number;
  readonly child: ChildProcess;
}
async function startMosquitto(folder: string): Promise<Running> {
  const port = await freePort();
  const config = join(folder, 'mosquitto.conf');
  writeFileSync(
    config,
    `listener ${port} 127.0.0.1\nallow_anonymous true\nuser root\nset_tcp_nodelay true\n`,
  );
  const child = spawn('mosquitto', ['-c', config], { stdio: 'ignore' });
  await listens(port);
  return { port, child };
}
async function startOurs(folder: string, mode: 'durable' | 'memory'): Promise<Running> {
  const child = fork(beside('broker-process.mjs'), [folder, mode], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  return { child, port: (await heard<{ port: number }>(child)).port };
}
async function load(request: LoadRequest): Promise<LoadResult> {
  const child = fork(beside('mqtt-load.mjs'), { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  try {
    child.send(request);
    const { result, error } = await heard<{ result?: LoadResult; error?: string }>(child);
    if (!result) throw new Error(error);
    return result;
  } finally {
    child.kill('SIGKILL');
  }
}

const CONNECT = (id: string): Buffer => {
  const name = Buffer.from(id);
  return Buffer.concat([
    Buffer.from([0x10, 12 + name.length, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 0, 0, name.length]),
    name,
  ]);
};
/** All at once; how long until each was accepted, or -1 where one was not. */
async function connectAll(
  port: number,
  count: number,
): Promise<{ sockets: Socket[]; tookMs: number; refused: number }> {
  const begunMs = performance.now();
  const sockets: Socket[] = [];
  let refused = 0;
  let next = 0;
  const one = async () => {
    for (let at = next++; at < count; at = next++)
      await new Promise<void>((resolve) => {
        const socket = connect(port, '127.0.0.1', () => socket.write(CONNECT(`idle-${at}`)));
        sockets.push(socket);
        socket.once('data', (data) => {
          if (data[3] !== 0) refused++;
          resolve();
        });
        socket.once('error', () => {
          refused++;
          resolve();
        });
      });
  };
  await Promise.all(Array.from({ length: 200 }, one));
  return { sockets, refused, tookMs: performance.now() - begunMs };
}

const KINDS = ['mosquitto', 'ours', 'ours, durable'] as const;

export async function benchBroker(): Promise<Finding> {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-bench-broker-'));
  const running: Running[] = [];
  try {
    running.push(await startMosquitto(folder));
    running.push(await startOurs(join(folder, 'memory'), 'memory'));
    running.push(await startOurs(join(folder, 'durable'), 'durable'));
    const results = new Map<string, LoadResult[]>();
    for (let round = 0; round < ROUNDS; round++)
      for (const subscribers of [0, 1])
        for (const [at, kind] of KINDS.entries()) {
          const key = `${kind} ${subscribers}`;
          const result = await load({ ...LOAD, subscribers, port: running[at]!.port });
          results.set(key, [...(results.get(key) ?? []), result]);
        }
    const of = (kind: string, subscribers: number, what: keyof LoadResult) =>
      median(results.get(`${kind} ${subscribers}`)!.map((one) => one[what]));
    const ratio = (kind: string, subscribers: number) =>
      of(kind, subscribers, 'perSecond') / of('mosquitto', subscribers, 'perSecond');
    const durable = running[2]!.child;
    durable.send('');
    const { writtenBytes, messages } = await heard<{ writtenBytes: number; messages: number }>(durable);
    const amplification = writtenBytes / (messages * LOAD.payloadBytes);
    // A fresh one: what a load left behind would hide what devices take.
    const ours = await startOurs(join(folder, 'idle'), 'memory');
    running.push(ours);
    const warm = await connectAll(ours.port, 200);
    for (const socket of warm.sockets) socket.destroy();
    const beforeBytes = rssBytes(ours.child.pid!);
    const idle = await connectAll(ours.port, IDLE_DEVICES);
    const perDevice = (rssBytes(ours.child.pid!) - beforeBytes) / IDLE_DEVICES;
    for (const socket of idle.sockets) socket.destroy();
    const again = await connectAll(ours.port, IDLE_DEVICES);
    for (const socket of again.sockets) socket.destroy();
    const row = (kind: string, subscribers: number) => [
      `${kind}${subscribers ? ', a subscriber of all' : ''}`,
      `${Math.round(of(kind, subscribers, 'perSecond'))}/s`,
      subscribers ? `${Math.round(of(kind, subscribers, 'receivedPerSecond'))}/s` : '',
      `${digits(of(kind, subscribers, 'p50Ms'))} ms`,
      `${digits(of(kind, subscribers, 'p99Ms'))} ms`,
    ];
    const verdict = (promise: string, measured: string, kept: boolean) => ({ promise, measured, kept });
    const times = (kind: string, subscribers: number, least: number, words: string) =>
      verdict(
        `${words}, at least ${least} times mosquitto`,
        `${digits(ratio(kind, subscribers))} times`,
        ratio(kind, subscribers) >= least,
      );
    return {
      id: 'broker',
      title: 'The broker beside mosquitto',
      verdicts: [
        times('ours, durable', 0, 0.55, '200 publishers, acknowledged when durable'),
        times('ours, durable', 1, 0.55, 'the same with a subscriber'),
        times('ours', 0, 0.9, '200 publishers, acknowledged from memory as mosquitto does'),
        times('ours', 1, 0.9, 'the same with a subscriber'),
        verdict(
          'a device that is connected and silent takes less than 20 KB',
          `${digits(perDevice / 1024)} KB with ${IDLE_DEVICES}`,
          perDevice < 20 * 1024,
        ),
        verdict(
          `${IDLE_DEVICES} devices come back within 60 s, none refused`,
          `${digits(again.tookMs / 1000)} s, ${again.refused + idle.refused} refused`,
          again.tookMs < 60_000 && again.refused + idle.refused === 0,
        ),
        verdict(
          'the queue writes less than 3 bytes for a byte of message',
          `${digits(amplification)} at messages of ${LOAD.payloadBytes} bytes`,
          amplification < 3,
        ),
      ],
      tables: [
        {
          title: 'Acknowledged messages, and the time from publishing to the acknowledgement',
          columns: ['', 'acknowledged', 'received', 'median', 'p99'],
          rows: [0, 1].flatMap((subscribers) => KINDS.map((kind) => row(kind, subscribers))),
        },
      ],
      notes: [
        'Brokers and load share two cores; each in a process of its own, in turns. Written bytes are those given to the kernel.',
      ],
      samples: Object.fromEntries(
        [...results].map(([key, list]) => [key, list.map(({ perSecond }) => perSecond)]),
      ),
    };
  } finally {
    for (const { child } of running) child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}
