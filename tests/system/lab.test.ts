// The lab of examples/labs/harbour.yaml: real agents, real guests and real packets on one machine.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client, Instance, Node } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RunningLab, startLab } from '../support/lab.ts';
import { ROOT, skerry } from '../support/program.ts';

let lab: RunningLab;
let upMs: number;
beforeAll(async () => {
  const begun = performance.now();
  lab = await startLab(join(ROOT, 'examples/labs/harbour.yaml'));
  upMs = performance.now() - begun;
}, 120_000);

let left: string[] | undefined;
afterAll(async () => {
  if (!left) await lab?.down();
});

const TOLERANCE_MS = 5; // routers on the way, and a machine that has other work
const expectRoundTrip = async (from: string, to: string, modelledMs: number) => {
  const measured = await lab.roundTripMs(from, to);
  expect(measured).toBeGreaterThanOrEqual(modelledMs);
  expect(measured).toBeLessThan(modelledMs + TOLERANCE_MS);
};
const helloNode = async () => {
  const [instance] = await lab.ask<Instance[]>('workload', 'instances');
  return instance!.spec.node!;
};
const hello = async (from: string) =>
  (await lab.exec(from, 'curl', '-sS', '-m', '3', `http://${await helloNode()}:8080/cgi-bin/whoami`)).stdout;

test('an edge of four sites is up within 30 s, its nodes at their sites, its guests ready', async () => {
  expect(upMs).toBeLessThan(30_000);
  const nodes = await lab.ask<Node[]>('node', 'list');
  expect(nodes.map(({ metadata, spec, status }) => [metadata.name, spec.site, status.phase])).toEqual([
    ['distant-node', 'data-centre', 'ready'],
    ['harbour-node', 'harbour', 'ready'],
    ['tower-1-node', 'hill', 'ready'],
    ['tower-2-node', 'pier', 'ready'],
  ]);
  const picture = await lab.lab('status');
  for (const words of ['○ phone-1', '25ms 500Mbit', '■ controller (answers', 'hello-0 running'])
    expect(picture).toContain(words);
});

test('round trips are those of the model, and a guest answers through the network', async () => {
  await expectRoundTrip('phone-1', 'distant-node', 2 * (2 + 25));
  await expectRoundTrip('phone-2', 'harbour-node', 2 * (1 + 3));
  await expectRoundTrip('phone-1', 'tower-1-node', 0);
  expect(await hello('phone-1')).toBe('hello-0 says hello\n');
});

test('the machine itself reaches nothing of the lab, and nothing of the lab is an interface of the machine', async () => {
  const { links, machines, subnet } = await labJson();
  expect(links).toHaveLength(9);
  const address = machines.find(({ name }) => name === 'controller')!.address;
  const begins = `${subnet.split('.').slice(0, 2).join('.')}.`;
  expect(address.startsWith(begins)).toBe(true);
  expect(execFileSync('ip', ['-o', '-4', 'addr'], { encoding: 'utf8' })).not.toContain(` ${address}/`);
  expect(execFileSync('ip', ['-o', '-4', 'route'], { encoding: 'utf8' })).not.toContain(begins);
});

interface LabJson {
  readonly subnet: string;
  readonly links: readonly { name: string; cut: string | null }[];
  readonly machines: readonly { name: string; address: string; phase: string }[];
}
const labJson = async () => JSON.parse(await lab.lab('status', '--output', 'json')) as LabJson;

test('a cut link is routed around, and used again when it is healed', async () => {
  await lab.lab('cut', 'backbone');
  await expectRoundTrip('phone-1', 'distant-node', 2 * 40);
  await lab.lab('cut', 'detour');
  expect(await lab.roundTripMs('phone-1', 'distant-node')).toBeUndefined();
  await lab.lab('heal', 'backbone');
  await expectRoundTrip('phone-1', 'distant-node', 2 * (2 + 25));
  await lab.lab('heal', 'detour');
  expect(await hello('phone-2')).toBe('hello-0 says hello\n');
});

test('a link that drops one direction is a half-open partition: nobody routes around it', async () => {
  await lab.lab('cut', 'air-cell', '--from', 'pier');
  expect(await lab.roundTripMs('phone-2', 'pier')).toBeUndefined();
  const { links } = await labJson();
  expect(links.find(({ name }) => name === 'air-cell')).toMatchObject({ cut: 'pier' });
  await lab.lab('heal', 'air-cell');
  await expectRoundTrip('phone-2', 'pier', 2);
});

test('latency and loss change while packets go', async () => {
  await lab.lab('change', 'air-cell', '--latency', '7.5ms', '--loss', '30%');
  const { stdout } = await lab.exec('phone-2', 'ping', '-c', '200', '-i', '0.005', '-W', '1', 'pier');
  const received = Number(/(\d+) received/.exec(stdout)![1]);
  // each way loses 30 %: 98 of 200 come back, and six standard deviations are 43
  expect(received).toBeGreaterThan(55);
  expect(received).toBeLessThan(141);
  expect(Number(/= ([\d.]+)\//.exec(stdout)![1])).toBeGreaterThanOrEqual(15);
  await lab.lab('change', 'air-cell', '--latency', '1ms', '--loss', '0');
});

// Counts up over one TCP connection and has it echoed; ends with what came back.
const ECHO = `require('net').createServer((c) => c.pipe(c)).listen(9000, () => console.log('ready'))`;
const COUNT = (to: string) => `
const c = require('net').connect(9000, '${to}'); let sent = 0, got = '', gap = 0, last = Date.now();
c.on('data', (d) => { got += d; gap = Math.max(gap, Date.now() - last); last = Date.now(); });
const t = setInterval(() => { c.write(sent++ + '\\n'); if (sent === 1) console.log('going'); if (sent === 250) { clearInterval(t); c.end(); } }, 10);
c.on('close', () => console.log(JSON.stringify({ whole: got === Array.from({ length: sent }, (_, i) => i + '\\n').join(''), gap })));`;

test('a client that moves keeps its addresses and its connections, and the controller knows', async () => {
  const laptop = (await lab.ask<Client[]>('client', 'list')).find(
    ({ metadata }) => metadata.name === 'laptop',
  )!;
  const server = lab.begin('laptop', process.execPath, '-e', ECHO);
  await eventually('the server listens', () => server.said().includes('ready'));
  const clients = ['laptop', laptop.spec.address6!].map((to) =>
    lab.begin('phone-1', process.execPath, '-e', COUNT(to)),
  );
  const ended = Promise.all(clients.map((client) => new Promise((resolve) => client.once('close', resolve))));
  try {
    for (const client of clients)
      await eventually('the connection is there', () => client.said().includes('going'));
    expect(await lab.lab('move', 'phone-1', 'tower-2')).toMatch(/phone-1 is at tower-2, switched within /);
    await ended;
    for (const client of clients) {
      const { whole, gap } = JSON.parse(client.said().split('\n')[1]!) as { whole: boolean; gap: number };
      expect(whole).toBe(true);
      expect(gap).toBeLessThan(1000); // at most a packet that TCP had to send again
    }
  } finally {
    for (const child of [server, ...clients]) child.kill('SIGKILL');
  }
  const phone = (await lab.ask<Client[]>('client', 'list')).find(
    ({ metadata }) => metadata.name === 'phone-1',
  )!;
  expect(phone).toMatchObject({ spec: { attachedTo: 'tower-2' }, status: { handovers: 1 } });
  await expectRoundTrip('phone-1', 'distant-node', 2 * (3 + 25));
  await lab.lab('move', 'phone-1', 'tower-1');
  await expectRoundTrip('phone-1', 'distant-node', 2 * (2 + 25));
}, 60_000);

test('a client finds a service by its name at the node that is nearest to it, wherever it moves', async () => {
  const service = async (from: string) =>
    (await lab.exec(from, 'curl', '-sS', '-m', '3', 'http://hello.default.edge:8080/cgi-bin/whoami')).stdout;
  for (const from of ['phone-1', 'phone-2', 'laptop'])
    await eventually(`${from} is answered`, async () => (await service(from)) === 'hello-0 says hello\n');
  await lab.lab('move', 'phone-1', 'quay-cell');
  expect(await service('phone-1')).toBe('hello-0 says hello\n');
  await lab.lab('move', 'phone-1', 'tower-1');
  expect(await service('phone-1')).toBe('hello-0 says hello\n');
}, 60_000);

/** Tells its name on each connection, then sends back what it gets. */
const NAMED_ECHO = `apiVersion: skerry/v1
kind: Workload
metadata: { name: echo }
spec:
  runtime: container
  image: hello:1
  command: [/bin/busybox, nc, -ll, -p, '9000', -e, /bin/busybox, sh, -c, 'hostname; exec cat']
  replicas: 3
  resources: { cpus: 0.1, memory: 16MiB }
  ports: [{ name: echo, port: 9000 }]
  placement: { near: { clients: { kind: phone } }, spread: site }
`;
/** Counts up over one connection for as long as its input is open; then whether all came back, once and in order, and from whom. */
const HELD = (family: 4 | 6) => `
const c = require('net').connect({ port: 9000, host: 'echo.default.edge', family: ${family} }); let sent = 0, got = '', end = false;
c.on('data', (d) => { got += d; if (sent === 0) go(); });
c.on('error', (e) => console.log(JSON.stringify({ error: e.code })));
const go = () => { console.log('going ' + got.trim()); const t = setInterval(() => { if (end) { clearInterval(t); c.end(); } else c.write(sent++ + '\\n'); }, 10); };
process.stdin.on('end', () => { end = true; }).resume();
c.on('close', () => { const [name, ...all] = got.split('\\n').slice(0, -1);
  console.log(JSON.stringify({ name, sent, got: all.length, whole: all.length === sent && all.every((line, i) => line === String(i)) })); });`;

test('connections to a service go on where they began when the client moves to another node, and new ones go to the nearest', async () => {
  await lab.tell(['apply', '-f', '-', '--wait'], NAMED_ECHO);
  const hold = async (family: 4 | 6 = 4) => {
    const held = lab.begin('phone-1', process.execPath, '-e', HELD(family));
    await eventually('the connection is there', () => held.said().includes('going'));
    const closed = new Promise((resolve) => held.once('close', resolve));
    return {
      name: /going (\S+)/.exec(held.said())![1]!,
      kill: () => held.kill('SIGKILL'),
      async end() {
        held.stdin!.end();
        await closed;
        return JSON.parse(held.said().trim().split('\n').at(-1)!) as object;
      },
    };
  };
  const held: Awaited<ReturnType<typeof hold>>[] = [];
  const whole = { whole: true };
  try {
    held.push(await hold(), await hold(6));
    await lab.lab('move', 'phone-1', 'tower-2');
    held.push(await hold(6), await hold());
    await lab.lab('move', 'phone-1', 'quay-cell');
    held.push(await hold());
    await lab.lab('move', 'phone-1', 'tower-1');
    held.push(await hold());
    const names = held.map(({ name }) => name);
    const [hill, pier] = [names[0], names[2]];
    expect(hill).not.toBe(pier);
    expect(names).toEqual([hill, hill, pier, pier, pier, hill]);
    const ends = [];
    for (const one of held) ends.push(await one.end());
    expect(ends).toMatchObject(held.map(({ name }) => ({ name, ...whole })));
  } finally {
    for (const one of held) one.kill();
    await lab.tell(['workload', 'delete', 'echo']);
  }
}, 90_000);

/** Writes down what it is told. */
const LISTENER = `apiVersion: skerry/v1
kind: Workload
metadata: { name: maps }
spec:
  runtime: container
  image: hello:1
  command:
    - /bin/busybox
    - sh
    - -c
    - |
      mkdir -p /tmp/www/cgi-bin
      printf '#!/bin/sh\\nhead -c $CONTENT_LENGTH >>/tmp/told; echo >>/tmp/told; echo "Status: 204"; echo\\n' >/tmp/www/cgi-bin/moved
      chmod +x /tmp/www/cgi-bin/moved
      touch /tmp/told
      exec httpd -f -p 8080 -h /tmp/www
  resources: { cpus: 0.1, memory: 16MiB }
  ports: [{ name: http, port: 8080 }]
  health: { tcp: { port: 8080 }, interval: 1s }
  placement: { near: { clients: { kind: phone } } }
  onHandover: { port: 8080, path: /cgi-bin/moved }
`;

test('a workload that wants to hear of handovers is told, each client once for each move', async () => {
  await lab.tell(['apply', '-f', '-', '--wait'], LISTENER);
  const told = async () => {
    const data = join(lab.folder, 'machines/controller/data');
    const read = ['--data', data, 'workload', 'exec', 'maps', '--', '/bin/cat', '/tmp/told'];
    const { stdout } = await skerry(read, { env: lab.env });
    const lines = stdout.split('\n').filter((line) => line.startsWith('{'));
    return lines.map((line) => JSON.parse(line) as { client: string; from: string; to: string });
  };
  try {
    await lab.lab('move', 'phone-1', 'tower-2');
    await eventually('the instance heard', async () =>
      (await told()).some(({ client, to }) => client === 'phone-1' && to === 'tower-2'),
    );
    await lab.lab('move', 'phone-1', 'tower-1');
    const last = await eventually('the instance heard of the way back', async () => {
      const one = (await told()).at(-1);
      return one?.to === 'tower-1' && one;
    });
    expect(last).toMatchObject({ client: 'phone-1', from: 'tower-2', to: 'tower-1' });
  } finally {
    await lab.tell(['workload', 'delete', 'maps']);
  }
}, 90_000);

test('IPv6 goes the same ways: a service by its name, after a handover, and around a cut link', async () => {
  const service = async (from: string, ...more: string[]) => {
    const url = 'http://hello.default.edge:8080/cgi-bin/whoami';
    return (await lab.exec(from, 'curl', '-6', '-sS', '-m', '3', ...more, url)).stdout;
  };
  const hello6 = 'hello-0 says hello\n';
  for (const from of ['phone-1', 'phone-2', 'laptop'])
    await eventually(`${from} is answered`, async () => (await service(from)) === hello6);
  const { stdout } = await lab.exec('phone-1', 'busybox', 'nslookup', 'hello.default.edge');
  expect(stdout).toContain('fdd2:6dd7:ba15:1::');
  await lab.lab('move', 'phone-1', 'quay-cell');
  expect(await service('phone-1')).toBe(hello6);
  await lab.lab('move', 'phone-1', 'tower-1');
  expect(await service('phone-1')).toBe(hello6);
  const ways = async () => (await lab.exec('quay-cell', 'ip', '-6', 'route')).stdout.match(/wire\d+/g);
  const before = await ways();
  expect(before!.length).toBeGreaterThan(0);
  await lab.lab('cut', 'gate-hill');
  expect(await service('phone-1')).toBe(hello6);
  await lab.lab('heal', 'gate-hill');
  expect(await ways()).toEqual(before);
}, 60_000);

test('a node that loses its power comes back with its guests', async () => {
  const node = await helloNode();
  await lab.lab('crash', node);
  expect((await labJson()).machines.find(({ name }) => name === node)).toMatchObject({ phase: 'off' });
  expect((await lab.try('exec', node, '--', 'true')).stderr).toContain(`${node} is off`);
  await lab.lab('start', node);
  await eventually('the guest answers', async () => (await hello('phone-1')) === 'hello-0 says hello\n');
}, 60_000);

test('whatever of a lab was killed, up mends it', async () => {
  const pids = readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid) || !existsSync(`/proc/${pid}/cmdline`)) return false;
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return ['wires/gate-hill', 'clients/phone-1'].some((part) => words.includes(join(lab.folder, part)));
  });
  expect(pids).toHaveLength(2);
  for (const pid of pids) process.kill(Number(pid), 'SIGKILL');
  expect((await lab.try('exec', 'phone-1', '--', 'true')).code).toBe(1);
  await lab.lab('up', join(ROOT, 'examples/labs/harbour.yaml'));
  await expectRoundTrip('phone-1', 'distant-node', 2 * (2 + 25));
  const six = ['curl', '-6', '-sS', '-m', '3', 'http://hello.default.edge:8080/cgi-bin/whoami'];
  expect((await lab.exec('phone-1', ...six)).stdout).toBe('hello-0 says hello\n');
}, 60_000);

test('two labs do not meet, and one that changed its file is not mistaken for itself', async () => {
  const parent = join(lab.folder, '..');
  const fileFolder = mkdtempSync(join(tmpdir(), 'skerry-lab-file-'));
  const file = join(fileFolder, 'tiny.yaml');
  const tiny = `apiVersion: skerry/v1
kind: Lab
metadata: { name: tiny }
spec: { controller: { site: here }, nodes: [{ name: only, site: here }] }
---
apiVersion: skerry/v1
kind: Site
metadata: { name: here }
spec: {}
---
apiVersion: skerry/v1
kind: AccessPoint
metadata: { name: cell }
spec: { type: small-cell, site: here }
---
apiVersion: skerry/v1
kind: Client
metadata: { name: phone-1 }
spec: { attachedTo: cell }
`;
  writeFileSync(file, tiny);
  const env = { ...lab.env, SKERRY_LAB: '' };
  const run = (...args: string[]) => skerry(['lab', ...args], { env });
  expect(await run('up', file)).toMatchObject({ code: 0 });
  try {
    expect((await run('status')).stderr).toContain('several labs are up: add --lab, one of harbour, tiny');
    expect(await run('exec', '--lab', 'tiny', 'phone-1', '--', 'ping', '-c', '1', 'only')).toMatchObject({
      code: 0,
    });
    writeFileSync(file, tiny.replace('small-cell', 'wifi'));
    expect((await run('up', file)).stderr).toContain('the lab "tiny" is up with another file');
  } finally {
    expect(await run('down', '--lab', 'tiny')).toMatchObject({ code: 0 });
    rmSync(fileFolder, { recursive: true, force: true });
  }
  expect(readdirSync(parent)).toEqual(['harbour']);
  await expectRoundTrip('phone-1', 'tower-1-node', 0);
}, 60_000);

test('down leaves nothing, and may be repeated', async () => {
  left = await lab.down();
  expect(left).toEqual([]);
  expect((await lab.try('down')).code).toBe(0);
}, 60_000);
