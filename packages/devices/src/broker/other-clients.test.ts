// The broker and clients that others wrote: mosquitto's programs and Paho for Python.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '@skerry/testkit';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Broker } from '../ports.ts';
import { createBroker } from './broker.ts';

let folder: string;
let broker: Broker;
let port: number;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'skerry-broker-'));
  broker = await createBroker({
    folder,
    hooks: {
      authenticate: async ({ username = '', password }) =>
        Buffer.from(password ?? []).toString() === 'secret'
          ? { identity: { project: 'default', device: username } }
          : { refused: 'bad-credentials', reason: 'no' },
      mayPublish: () => true,
      maySubscribe: () => true,
      ingest: () => undefined,
      connected: () => undefined,
      disconnected: () => undefined,
    },
    listen: [{ protocol: 'mqtt', host: '127.0.0.1', port: 0 }],
  });
  port = (await broker.start())[0]!.port;
});
afterEach(async () => {
  await broker.stop();
  rmSync(folder, { recursive: true, force: true });
});

const program = (
  command: string,
  args: readonly string[],
): Promise<{ code: number | null; output: string }> =>
  new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (data) => {
        output += data;
      });
    child.once('close', (code) => resolve({ code, output }));
  });

test.each(['mqttv311', 'mqttv5'])('mosquitto_pub and mosquitto_sub by %s', async (version) => {
  const common = ['-h', '127.0.0.1', '-p', String(port), '-u', 'm', '-P', 'secret', '-V', version];
  const sub = program('mosquitto_sub', [
    ...common,
    '-t',
    'kettle/#',
    '-q',
    '2',
    '-C',
    '2',
    '-W',
    '20',
    '-i',
    'sub',
  ]);
  await eventually('the subscriber', () => broker.counts().connections === 1);
  const pub = (qos: string) =>
    program('mosquitto_pub', [...common, '-t', 'kettle/t', '-m', `q${qos}`, '-q', qos, '-i', 'pub', '-r']);
  expect(await pub('1')).toMatchObject({ code: 0 });
  expect(await pub('2')).toMatchObject({ code: 0 });
  expect(await sub).toEqual({ code: 0, output: 'q1\nq2\n' });
});

const PAHO = `
import sys, threading
import paho.mqtt.client as mqtt
port, version = int(sys.argv[1]), int(sys.argv[2])
done = threading.Event()
got = []
args = {"client_id": "paho", "protocol": version}
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION1, **args) if hasattr(mqtt, "CallbackAPIVersion") else mqtt.Client(**args)
client.username_pw_set("paho", "secret")
def on_message(c, u, m):
    got.append(m.payload.decode())
    if len(got) == 3: done.set()
client.on_message = on_message
client.on_subscribe = lambda *a: [client.publish("p/%d" % q, "q%d" % q, qos=q) for q in (0, 1, 2)]
client.on_connect = lambda *a: client.subscribe("p/#", qos=2)
client.connect("127.0.0.1", port)
client.loop_start()
ok = done.wait(20)
client.disconnect()
print(" ".join(sorted(got)))
sys.exit(0 if ok else 1)
`;
test.each([4, 5])('Paho for Python, protocol %i', async (version) => {
  expect(await program('/usr/bin/python3', ['-c', PAHO, String(port), String(version)])).toEqual({
    code: 0,
    output: 'q0 q1 q2\n',
  });
});
