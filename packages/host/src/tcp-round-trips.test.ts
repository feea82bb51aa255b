import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FRESH_MS, parseTcpMetrics, parseTcpRoundTrips, tcpRoundTrips } from './tcp-round-trips.ts';

const prefix = `skt-${randomBytes(4).toString('hex')}-`;
const name = `${prefix}a`;
/** A connection on which a byte went there and back. */
const TALK = `
const net = require('node:net');
const server = net.createServer((socket) => socket.pipe(socket)).listen(0, '::', () => {
  const talk = (to, talked) => {
    const client = net.connect(server.address().port, to, () => client.write('a'));
    client.on('data', () => talked(client));
  };
  talk('127.0.0.2', () =>
    talk('127.0.0.3', (client) => client.end().on('close', () => console.log('talked'))));
});`;
let talking: ChildProcess;
beforeAll(async () => {
  execFileSync('ip', ['netns', 'add', name]);
  execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
  talking = spawn('ip', ['netns', 'exec', name, process.execPath, '-e', TALK], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(talking.stdout!, 'data');
});
afterAll(async () => {
  const ended = once(talking, 'exit');
  talking.kill('SIGKILL');
  await ended;
  execFileSync('ip', ['netns', 'delete', name]);
});

test('connections inside namespaces, also ended ones, tell how far the other side is, as the kernel measured it', async () => {
  const found = await tcpRoundTrips(prefix, AbortSignal.timeout(20_000));
  expect([...found.keys()].sort()).toEqual(['127.0.0.1', '127.0.0.2', '127.0.0.3']);
  for (const us of found.values()) {
    expect(us).toBeGreaterThan(0);
    expect(us).toBeLessThan(1_000_000);
  }
  expect((await tcpRoundTrips(`${prefix}none`, AbortSignal.timeout(20_000))).size).toBe(0);
});

test('of several connections the least counts; old figures, and lines without any, do not', () => {
  const line = (peer: string, rest: string) => `0      0      10.0.0.1:80 ${peer} cubic wscale:7,7 ${rest}\n`;
  const found = new Map<string, number>();
  const text =
    line('192.0.2.1:4000', 'rto:204 rtt:30.5/2 lastsnd:4 lastrcv:4 lastack:4') +
    line('192.0.2.1:4001', 'rto:204 rtt:21.25/2 minrtt:1') +
    line('[::ffff:192.0.2.2]:4002', 'rtt:5/1 lastack:10') +
    line('[2001:db8::1]:4003', 'rtt:6/1') +
    line('[fe80::1%eth0]:4003', 'rtt:7/1') +
    line('192.0.2.3:4004', `rtt:8/1 lastack:${FRESH_MS + 1}`) +
    line('192.0.2.4:4005', 'rto:204') +
    'nothing that is known\n';
  parseTcpRoundTrips(text, found);
  expect([...found]).toEqual([
    ['192.0.2.1', 21_250],
    ['192.0.2.2', 5000],
    ['2001:db8::1', 6000],
    ['fe80::1', 7000],
  ]);
});

test('of ended connections those of a moment ago count', () => {
  const found = new Map<string, number>();
  parseTcpMetrics(
    '192.0.2.1 age 0.836sec cwnd 13 rtt 388us rttvar 674us source 10.0.0.1\n' +
      '2001:db8::1 age 9.9sec rtt 54000us rttvar 1us source 2001:db8::2\n' +
      '192.0.2.2 age 149.016sec cwnd 12 rtt 54585us rttvar 54585us source 10.0.0.1\n' +
      '192.0.2.3 age 1.0sec cwnd 12 source 10.0.0.1\n',
    found,
  );
  expect([...found]).toEqual([
    ['192.0.2.1', 388],
    ['2001:db8::1', 54_000],
  ]);
});
