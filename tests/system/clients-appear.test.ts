// A client that walks from one access point to another, with real packets: nobody says that it moved but its own first packet.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { processesWithArgument } from '@skerry/host';
import type { Client, Event, Node } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Program, startProgram } from '../support/program.ts';

// documentation addresses (RFC 5737) on wires that this test made, of which one end is in a namespace of its own
const GATEWAY = '203.0.113.1';
const ADDRESS = '203.0.113.7';
const phone = `skphone${process.pid}`;
const towers = [`skt1-${process.pid}`, `skt2-${process.pid}`] as const;
const ip = (...words: string[]) => execFileSync('ip', words, { stdio: 'pipe' });
let skerry: Program;

/** It comes within reach of one tower, out of that of the other, and says something. No interface loses its carrier. */
function walkTo(tower: string): void {
  for (const other of towers)
    if (other !== tower) ip('-n', phone, 'addr', 'flush', 'dev', other, 'scope', 'global');
  ip('-n', phone, 'addr', 'add', `${ADDRESS}/24`, 'dev', tower);
  // the way of the answers is the access network's matter, as a tunnel to its tower is in a radio network
  ip('route', 'replace', `${ADDRESS}/32`, 'dev', tower);
  execFileSync('ip', ['netns', 'exec', phone, 'ping', '-c', '1', '-W', '2', GATEWAY], { stdio: 'pipe' });
}
const document = (kind: string, name: string, spec: string) =>
  `apiVersion: skerry/v1\nkind: ${kind}\nmetadata: { name: ${name} }\nspec: ${spec}\n---\n`;
const shown = () => skerry.json<Client>('client', 'show', 'phone');
const comesTo = (accessPoint: string) =>
  eventually(`it is at ${accessPoint}`, async () => (await shown()).spec.attachedTo === accessPoint);

beforeAll(async () => {
  ip('netns', 'add', phone);
  for (const tower of towers) {
    ip('link', 'add', tower, 'type', 'veth', 'peer', 'name', tower, 'netns', phone);
    ip('addr', 'add', `${GATEWAY}/32`, 'dev', tower);
    ip('link', 'set', tower, 'up');
    ip('-n', phone, 'link', 'set', tower, 'up');
  }
  skerry = await startProgram({
    args: towers.flatMap((tower, at) => ['--access-interface', `${tower}=tower-${at + 1}`]),
  });
  await eventually('its node is there', async () =>
    (await skerry.json<Node[]>('node', 'list')).some(({ status }) => status.phase === 'ready'),
  );
  const file = join(skerry.dataDir, 'edge.yaml');
  writeFileSync(
    file,
    document('Site', 'harbour', '{}') +
      document('Node', 'local', '{ site: harbour }') +
      document('AccessPoint', 'tower-1', '{ type: radio-tower, site: harbour }') +
      document('AccessPoint', 'tower-2', '{ type: radio-tower, site: harbour }') +
      document('Client', 'phone', `{ address: ${ADDRESS} }`),
  );
  await skerry.run('apply', '-f', file);
});
afterAll(async () => {
  for (const tower of towers) ip('link', 'del', tower);
  ip('netns', 'del', phone);
  expect(await skerry.purge()).toEqual([]);
});

test('a client is attached where its first packet comes in, and handed over where the next one does, there and back', async () => {
  for (const [at, tower] of [...towers, towers[0]].entries()) {
    walkTo(tower);
    await comesTo(`tower-${(at % 2) + 1}`);
  }
  expect((await shown()).status.handovers).toBe(2);
  const moves = (await skerry.json<Event[]>('event', 'list')).filter(({ reason }) => reason === 'Handover');
  expect(moves.map(({ message }) => message)).toEqual([
    'client phone came to tower-1, seen by node local',
    'client phone moved from tower-1 to tower-2, seen by node local',
    'client phone moved from tower-2 to tower-1, seen by node local',
  ]);
});

test('nothing listens on when the program was killed', async () => {
  const parentOf = (pid: number) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[3];
  const program = skerry.pid();
  const ear = processesWithArgument('monitor').find(({ pid }) => parentOf(pid) === `${program}`);
  expect(ear).toBeDefined();
  await skerry.kill();
  await eventually('it has ended', () =>
    processesWithArgument('monitor').every(({ pid }) => pid !== ear!.pid),
  );
  await skerry.up();
});
