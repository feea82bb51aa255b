// The QMP client against a server that keeps to the protocol, and against one that does not.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '@skerry/testkit';
import { afterEach, expect, test } from 'vitest';
import { connectQmp, type QmpEvent } from './qmp.ts';

interface Command {
  readonly execute: string;
  readonly id: number;
}
type Answer = (command: Command, say: (value: unknown) => void, socket: Socket) => void;

const GREETING = { QMP: { version: { qemu: { major: 7, minor: 2, micro: 0 } }, capabilities: [] } };
const line = (value: unknown) => `${JSON.stringify(value)}\r\n`;
const ignore = () => undefined;
const close: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const one of close.splice(0)) await one();
});

/** Greets, agrees to the capabilities, and leaves the rest to `answer`. */
async function monitor(answer: Answer = ignore, greeting = line(GREETING)) {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-qmp-'));
  const path = join(folder, 'qmp');
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', ignore);
    socket.write(greeting);
    let rest = '';
    socket.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop()!;
      for (const one of lines) {
        const command = JSON.parse(one) as Command;
        const say = (value: unknown) => void socket.write(line(value));
        if (command.execute === 'qmp_capabilities' && answer !== silent) say({ return: {}, id: command.id });
        else answer(command, say, socket);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  close.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true });
  });
  return { path, sockets };
}
/** Answers nothing, the capabilities neither. */
const silent: Answer = () => undefined;

test('a command gets its own answer, whatever comes between and in whichever order', async () => {
  const asked: { id: number; say: (value: unknown) => void }[] = [];
  const { path } = await monitor(({ id }, say) => {
    asked.push({ id, say });
    if (asked.length < 2) return;
    say({ return: { of: 'somebody else' }, id: 9999 });
    for (const one of asked.reverse()) one.say({ return: { status: `number ${one.id}` }, id: one.id });
  });
  const qmp = await connectQmp(path, ignore);
  const [first, second] = await Promise.all([qmp.execute('query-status'), qmp.execute('query-status')]);
  expect([first.status, second.status]).toEqual(['number 2', 'number 3']);
  qmp.close();
  await qmp.closed;
});

test('answers and events are read whole though they come in pieces, letters of several bytes too', async () => {
  const { path } = await monitor(({ id }, _say, socket) => {
    const bytes = Buffer.from(
      `${line({ event: 'STOP', data: { why: 'müde' }, timestamp: { seconds: 7, microseconds: 250_000 } })}${line({ return: {}, id })}`,
    );
    socket.setNoDelay(true);
    let at = 0;
    const next = () => {
      if (at < bytes.length) socket.write(bytes.subarray(at, ++at), () => setImmediate(next));
    };
    next();
  });
  const heard: QmpEvent[] = [];
  const qmp = await connectQmp(path, (event) => heard.push(event));
  await qmp.execute('stop');
  expect(heard).toEqual([{ event: 'STOP', data: { why: 'müde' }, atMs: 7250 }]);
  qmp.close();
});

test('an event that comes with the greeting is heard', async () => {
  const { path } = await monitor(ignore, line(GREETING) + line({ event: 'RESUME' }));
  const heard: string[] = [];
  const qmp = await connectQmp(path, ({ event }) => heard.push(event));
  expect(heard).toEqual(['RESUME']);
  qmp.close();
});

test('a listener that throws ends neither the connection nor us', async () => {
  const { path } = await monitor(({ id }, say) => {
    say({ event: 'STOP' });
    say({ return: {}, id });
  });
  const qmp = await connectQmp(path, () => {
    throw new Error('not now');
  });
  await expect(qmp.execute('stop')).resolves.toEqual({});
  await expect(qmp.execute('stop')).resolves.toEqual({});
  qmp.close();
});

test("a refusal is an error with QEMU's words", async () => {
  const { path } = await monitor(({ id }, say) =>
    say({ error: { class: 'GenericError', desc: 'Resetting the Virtual Machine is required' }, id }),
  );
  const qmp = await connectQmp(path, ignore);
  await expect(qmp.execute('cont')).rejects.toMatchObject({
    code: 'internal',
    message: expect.stringContaining('Resetting the Virtual Machine is required'),
    details: { class: 'GenericError' },
  });
  qmp.close();
});

test('an answer that comes too late is an error once, and does not answer the next command', async () => {
  let late: (() => void) | undefined;
  const { path } = await monitor(({ execute, id }, say) => {
    if (execute === 'stop') late = () => say({ return: { status: 'late' }, id });
    else {
      late?.();
      say({ return: { status: 'running', running: true }, id });
    }
  });
  const qmp = await connectQmp(path, ignore);
  await expect(qmp.execute('stop', 30)).rejects.toMatchObject({ code: 'guest_unresponsive' });
  expect(await qmp.execute('query-status')).toEqual({ status: 'running', running: true });
  qmp.close();
});

test('a connection that is cut fails what waits, and what is asked afterwards, at once', async () => {
  const { path } = await monitor((_command, _say, socket) => socket.destroy());
  const qmp = await connectQmp(path, ignore);
  const both = [qmp.execute('stop'), qmp.execute('cont')];
  for (const one of both) await expect(one).rejects.toMatchObject({ code: 'unavailable' });
  await qmp.closed;
  await expect(qmp.execute('cont')).rejects.toMatchObject({ code: 'unavailable' });
});

test.each([
  ['words', 'SSH-2.0-OpenSSH_9.2\n'],
  ['a number', '17\n'],
  ['nothing of an object', 'null\n'],
  ['broken JSON', '{"return": {]\n'],
  ['a line without end', 'x'.repeat(2 * 1024 * 1024)],
])('a server that says %s is left', async (_, garbage) => {
  const { path } = await monitor((_command, _say, socket) => void socket.write(garbage));
  const qmp = await connectQmp(path, ignore);
  await expect(qmp.execute('query-status', 20_000)).rejects.toMatchObject({ code: 'unavailable' });
  await qmp.closed;
});

test('nobody there, one who hangs up and one who never greets are told apart from a monitor', async () => {
  await expect(connectQmp(join(tmpdir(), 'skerry-no-such-socket'), ignore)).rejects.toMatchObject({
    code: 'unavailable',
  });
  const mute = await monitor(silent, '');
  await expect(connectQmp(mute.path, ignore, 50)).rejects.toMatchObject({ code: 'unavailable' });
  await eventually('the mute one is left', () => mute.sockets.size === 0);
  const rude = await monitor(silent, 'go away\n');
  await expect(connectQmp(rude.path, ignore)).rejects.toMatchObject({ code: 'unavailable' });
});

test('a monitor that greets and then hangs is left: it takes one connection at a time', async () => {
  const { path, sockets } = await monitor(silent);
  await expect(connectQmp(path, ignore, 50)).rejects.toMatchObject({ code: 'guest_unresponsive' });
  await eventually('the connection is closed', () => sockets.size === 0, { withinMs: 5000 });
});
