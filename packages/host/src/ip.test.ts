import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import { ipBatch, ipJson, parseBatchFailures } from './ip.ts';
import { findListener } from './listeners.ts';

const signal = AbortSignal.timeout(20_000);

describe('batches of ip', () => {
  test('name each line that failed with its reason, and carry out the others', async () => {
    const lines = ['link show dev lo', 'link show dev no-such-0', 'no-such-command', 'link show dev lo'];
    const failures = await ipBatch(lines, signal);
    expect(failures.map((failure) => failure.line)).toEqual([1, 2]);
    expect(failures[0]!.text).toContain('no-such-0');
  });

  test('are refused when a line would smuggle in another', async () => {
    await expect(ipBatch(['link show\nlink del dev lo'], signal)).rejects.toMatchObject({ code: 'internal' });
  });

  test('of one reason with several lines keep all of them', () => {
    const stderr =
      'Error: one.\nmore of it\nCommand failed -:3\nRTNETLINK answers: File exists\nCommand failed -:7\n';
    expect(parseBatchFailures(stderr)).toEqual([
      { line: 2, text: 'Error: one. more of it' },
      { line: 6, text: 'RTNETLINK answers: File exists' },
    ]);
  });

  test('json of ip has the loopback interface', async () => {
    const rows = await ipJson<{ ifname: string }>(['link', 'show', 'dev', 'lo'], signal);
    expect(rows[0]).toMatchObject({ ifname: 'lo' });
  });
});

describe('who listens on a port', () => {
  test.each(['127.0.0.1', '::'])('is found by process and address on %s', async (host) => {
    const server = createServer().listen(0, host);
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    try {
      expect(findListener('tcp', port)).toMatchObject({
        pid: process.pid,
        address: host === '::' ? '[::]' : host,
      });
      expect(findListener('udp', port)).toBeUndefined();
    } finally {
      server.close();
      await once(server, 'close');
    }
    expect(findListener('tcp', port)).toBeUndefined();
  });

  test('is found for udp', async () => {
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await once(socket, 'listening');
    try {
      expect(findListener('udp', socket.address().port)).toMatchObject({ pid: process.pid });
    } finally {
      socket.close();
    }
  });
});
