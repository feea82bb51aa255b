// The device program as a process: started, adopted, exchanged for another version, ended. The program is a stand-in that
// answers at its socket.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { identityOf, processesWithArgument } from '@skerry/host';
import { realClock } from '@skerry/reconcile';
import { eventually } from '@skerry/testkit';
import { afterEach, expect, test } from 'vitest';
import { createDeviceProgram, endDeviceProgram } from './program.ts';

const ANSWERS = `
import { createServer } from 'node:http';
const socket = process.argv.find((word) => word.startsWith('--socket=')).slice(9);
createServer((_, response) => response.end(JSON.stringify({ revision: process.pid, isWanted: true }))).listen(socket);
`;
const never = new AbortController().signal;
const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

function world(script = ANSWERS) {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-device-program-'));
  const identity = { ...identityOf('00000000', join(folder, 'data')), runDir: join(folder, 'run') };
  mkdirSync(identity.dataDir, { recursive: true });
  const path = join(folder, 'devices.mjs');
  writeFileSync(path, script);
  const create = () => createDeviceProgram({ identity, script: path, clock: realClock });
  const running = () =>
    processesWithArgument(`--folder=${join(identity.dataDir, 'devices')}`).map(({ pid }) => pid);
  ends.push(async () => {
    await endDeviceProgram(identity);
    rmSync(folder, { recursive: true, force: true });
  });
  return { identity, create, running, path };
}

test('it is started once and found again by an agent that knows nothing of it', async () => {
  const { create, running } = world();
  expect(create().wasWanted()).toBe(false);
  const client = await create().ensure(never);
  const { revision: pid } = await client.standing(never);
  expect(running()).toEqual([pid]);
  const again = create();
  expect(again.wasWanted()).toBe(true);
  expect(await (await again.ensure(never)).standing(never)).toMatchObject({ revision: pid });
  expect(running()).toEqual([pid]);
});

test('another version takes the place of the one that runs', async () => {
  const { create, running, path } = world();
  await create().ensure(never);
  const [former] = running();
  utimesSync(path, 1, 1);
  await create().ensure(never);
  expect(running()).toHaveLength(1);
  expect(running()[0]).not.toBe(former);
});

test('one that was killed is started again over the socket that it left', async () => {
  const { create, running } = world();
  await create().ensure(never);
  process.kill(running()[0]!, 'SIGKILL');
  await eventually('it is gone', () => running().length === 0);
  await create().ensure(never);
  expect(running()).toHaveLength(1);
});

test('ended, it leaves no process and no socket to answer; retired, it is not wanted any more', async () => {
  const { create, running, identity } = world();
  const program = create();
  const client = await program.ensure(never);
  await program.end();
  expect(running()).toEqual([]);
  await expect(client.standing(never)).rejects.toMatchObject({ code: 'unavailable' });
  expect(program.wasWanted()).toBe(true);
  await program.retire();
  expect(program.wasWanted()).toBe(false);
  expect(readdirSync(join(identity.dataDir, 'devices'))).toEqual(['devices.log']);
});

test('one that ends at once is told of, with where its words are', async () => {
  const { create } = world('console.error("no such thing"); process.exit(1);');
  await expect(create().ensure(never)).rejects.toMatchObject({ code: 'host_command_failed' });
});
