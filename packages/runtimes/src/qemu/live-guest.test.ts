// Who connects to a guest's monitor finds it running, waiting for its first word, or held still on purpose.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '@skerry/testkit';
import { expect, test } from 'vitest';
import { LiveGuest } from './live-guest.ts';

/** A monitor whose guest is in `status`: tells what it was asked, the agreement on capabilities left out. */
async function heardBy(status: string, task: (asked: readonly string[]) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-live-'));
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    const say = (value: object) => void socket.write(`${JSON.stringify(value)}\r\n`);
    say({ QMP: { version: { qemu: { major: 7, minor: 2, micro: 0 } }, capabilities: [] } });
    let rest = '';
    socket.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop()!;
      for (const { execute, id } of lines.map((line) => JSON.parse(line))) {
        if (execute !== 'qmp_capabilities') asked.push(execute);
        say({ return: execute === 'query-status' ? { status, running: status === 'running' } : {}, id });
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(join(folder, 'qmp'), resolve));
  const self = { pid: process.pid, startTicks: '0' } as never;
  const live = new LiveGuest(
    { path: (name) => join(folder, name), ended: () => undefined, process: () => self },
    { onEnd: () => undefined },
  );
  try {
    await live.settled;
    await live.qmp!.execute('query-block');
    await eventually('its status is asked for', () => asked.includes('query-status'));
    await live.qmp!.execute('query-block'); // what the answer led to was asked by now
    await task(asked);
  } finally {
    live.release();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true });
  }
}

test('a guest whose supervisor died before it said so is let begin', () =>
  heardBy('prelaunch', async (asked) => {
    await eventually('it is let begin', () => asked.includes('cont'));
  }));

test.each(['running', 'paused', 'io-error'])('one that is %s is left as it is', (status) =>
  heardBy(status, async (asked) => {
    expect(asked).not.toContain('cont');
  }),
);
