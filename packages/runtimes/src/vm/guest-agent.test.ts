// The agent in a guest is a stranger: whatever it sends costs a bounded amount of memory and time, and is never taken for more.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SkerryError } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { addressesIn, GuestAddresses } from './guest-addresses.ts';
import { GuestAgent } from './guest-agent.ts';

let folder: string;
let server: Server | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'skerry-agent-'));
});
afterEach(async () => {
  await new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)));
  rmSync(folder, { recursive: true, force: true });
});

/** Answers each line by what `reply` says: text that is sent as it is. */
async function guest(
  reply: (command: { execute: string; arguments?: { id?: number } }) => string,
): Promise<string> {
  const path = join(folder, 'agent');
  server = createServer((socket: Socket) => {
    let text = '';
    socket.on('error', () => undefined);
    socket.on('data', (data) => {
      text += data.toString('latin1').replaceAll('\xff', '');
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        socket.write(reply(JSON.parse(text.slice(0, end))));
        text = text.slice(end + 1);
      }
    });
  });
  await new Promise<void>((resolve) => server!.listen(path, resolve));
  return path;
}
const greet = (id: number | undefined) => `${JSON.stringify({ return: id })}\n`;
const codeOf = (request: Promise<unknown>) =>
  request.then(
    () => 'none',
    (error: SkerryError) => error.code,
  );

test('answers to a connection before this one are passed over', async () => {
  const path = await guest(({ execute, arguments: given }) =>
    execute === 'guest-sync'
      ? `{"return": 7}\n{"error": {"desc": "old"}}\n${greet(given?.id)}`
      : '{"return": {"pid": 5}}\n',
  );
  const agent = await GuestAgent.connect(path);
  const input = { path: '/bin/true', arg: [], env: [], 'capture-output': true };
  expect(await agent.execute('guest-exec', input)).toEqual({ pid: 5 });
  agent.close();
});

test.each([
  ['no JSON', 'x\n'],
  ['another shape', '{"return": {"pid": "5; rm"}}\n'],
  ['a line without end', 'x'.repeat(300 * 1024)],
])('an answer that is none ends the connection: %s', async (_, answer) => {
  const path = await guest(({ execute, arguments: given }) =>
    execute === 'guest-sync' ? greet(given?.id) : answer,
  );
  const agent = await GuestAgent.connect(path);
  expect(await codeOf(agent.execute('guest-fsfreeze-status'))).toBe('guest_unresponsive');
  expect(agent.isClosed).toBe(true);
});

test('a refusal is told in plain words, without what a terminal would obey', async () => {
  const path = await guest(({ execute, arguments: given }) =>
    execute === 'guest-sync' ? greet(given?.id) : '{"error": {"desc": "no\\u001b[2Jway"}}\n',
  );
  const agent = await GuestAgent.connect(path);
  await expect(agent.execute('guest-ping')).rejects.toThrow('the agent in the guest refused: no [2Jway');
  agent.close();
});

test('of the addresses that a guest tells, those by which others could reach it are kept, each once and not many', () => {
  const told = (...addresses: string[]) => [
    { 'ip-addresses': addresses.map((one) => ({ 'ip-address': one })) },
  ];
  expect(
    addressesIn(
      told('127.0.0.1', '10.0.0.2', '::1', 'FD00::2', 'fe80::1%eth0', '10.0.0.2', '<b>', '169.254.1.1'),
    ),
  ).toEqual(['10.0.0.2', 'fd00::2']);
  expect(addressesIn(told(...Array.from({ length: 100 }, (_, at) => `10.0.0.${at}`)))).toHaveLength(16);
  expect(addressesIn([{}])).toEqual([]);
});

test('addresses are told when they change, and no longer when the agent goes', async () => {
  const answers = [['10.0.0.2'], ['10.0.0.2'], ['10.0.0.3']];
  const heard: (readonly string[] | undefined)[] = [];
  const addresses: GuestAddresses = new GuestAddresses({
    ask: async () => answers.shift() ?? ['10.0.0.3'],
    onChange: () => heard.push(addresses.known),
    firstAskMs: 1,
  });
  addresses.agentIsThere(true);
  await eventually('both were heard', () => heard.length === 2);
  addresses.agentIsThere(false);
  expect(heard).toEqual([['10.0.0.2'], ['10.0.0.3'], undefined]);
  addresses.release();
});
