import { readFileSync } from 'node:fs';
import { eventually } from '@skerry/testkit';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { processesWithArgument } from './find-process.ts';
import { type Neighbour, parseNeighbour, watchNeighbours } from './neighbours.ts';
import { run } from './run.ts';

// two namespaces that this test made, documentation addresses (RFC 5737, RFC 3849): nothing leaves them
const node = `sk-near-${process.pid}`;
const phone = `sk-far-${process.pid}`;
const options = { signal: new AbortController().signal, timeoutMs: 10_000 };
const ip = (...words: string[]) => run('ip', words, options);
const heard: Neighbour[] = [];
const lists: (readonly Neighbour[])[] = [];
let ends = 0;
const ear = {
  heard: (one: Neighbour) => void heard.push(one),
  listed: (all: readonly Neighbour[]) => void lists.push(all),
  ended: () => {
    ends++;
  },
};
describe('two machines on a wire', () => {
  beforeEach(async () => {
    heard.length = 0;
    lists.length = 0;
    ends = 0;
    for (const name of [node, phone]) await ip('netns', 'add', name);
    for (const name of ['eth1', 'eth2'])
      await ip('-n', node, 'link', 'add', name, 'type', 'veth', 'peer', 'name', name, 'netns', phone);
    await ip('-n', node, 'addr', 'add', '192.0.2.1/24', 'dev', 'eth1');
    await ip('-n', node, 'addr', 'add', '198.51.100.1/24', 'dev', 'eth2');
    await ip('-n', node, 'addr', 'add', '2001:db8::1/64', 'dev', 'eth1', 'nodad');
    await ip('-n', phone, 'addr', 'add', '192.0.2.7/24', 'dev', 'eth1');
    await ip('-n', phone, 'addr', 'add', '198.51.100.7/24', 'dev', 'eth2');
    await ip('-n', phone, 'addr', 'add', '2001:db8::7/64', 'dev', 'eth1', 'nodad');
    for (const name of [node, phone])
      for (const device of ['eth1', 'eth2']) await ip('-n', name, 'link', 'set', device, 'up');
  });
  afterEach(async () => {
    for (const name of [node, phone]) await ip('netns', 'del', name);
  });
  const ping = (address: string) =>
    run('ip', ['netns', 'exec', phone, 'ping', '-c', '1', '-W', '2', address], options);

  test('a machine that sends its first packet is heard at its interface, over IPv4 and IPv6, and those elsewhere are not', async () => {
    const watch = await watchNeighbours({ interfaces: ['eth1'], netns: node }, ear);
    try {
      await eventually('the table is listed', () => expect(lists.length).toBe(1));
      await ping('198.51.100.1');
      await ping('192.0.2.1');
      await ping('2001:db8::1');
      await eventually('both addresses are heard', () => {
        const there = heard.filter(({ mac }) => mac !== undefined).map((one) => one.address);
        return there.includes('192.0.2.7') && there.includes('2001:db8::7');
      });
      expect(new Set(heard.map((one) => one.interface))).toEqual(new Set(['eth1']));
      await ip('-n', phone, 'link', 'set', 'eth1', 'down');
      await eventually('it is gone', () =>
        expect(heard).toContainEqual(expect.objectContaining({ address: '192.0.2.7', state: 'gone' })),
      );
    } finally {
      watch.close();
    }
    expect(ends).toBe(0);
  });

  test('who was there before is listed; the one that listens has no rights, and its end is told', async () => {
    await ping('192.0.2.1');
    const before = new Set(processesWithArgument('monitor').map(({ pid }) => pid));
    await watchNeighbours({ interfaces: ['eth1'], netns: node }, ear);
    await eventually('it is listed', () =>
      expect(lists[0]?.map(({ address }) => address)).toContain('192.0.2.7'),
    );
    const own = processesWithArgument('monitor').find(
      ({ pid }) =>
        !before.has(pid) && readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[3] === `${process.pid}`,
    );
    const status = readFileSync(`/proc/${own!.pid}/status`, 'utf8');
    expect(status).toMatch(/^Uid:\t65534\t65534\t65534\t65534$/m);
    expect(status).toMatch(/^Cap(Eff|Bnd):\t0+$/m);
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    process.kill(own!.pid, 'SIGKILL');
    await eventually('its end is told', () => expect(ends).toBe(1));
  });
});

test.each([
  ['192.0.2.7 dev eth1 lladdr 02:00:00:00:00:01 REACHABLE ', 'reachable', '02:00:00:00:00:01'],
  ['fe80::1 dev eth1 lladdr 02:00:00:00:00:01 router STALE', 'stale', '02:00:00:00:00:01'],
  ['192.0.2.7 dev eth1  FAILED', 'failed', undefined],
  ['Deleted 192.0.2.7 dev eth1 lladdr 02:00:00:00:00:01 REACHABLE', 'gone', '02:00:00:00:00:01'],
])('what the kernel says is understood: %s', (line, state, mac) => {
  expect(parseNeighbour(line)).toEqual({
    ...{ address: line.split(' ').find((word) => /[.:]/.test(word)), interface: 'eth1' },
    ...{ state, ...(mac !== undefined && { mac }) },
  });
});

test.each([
  'dev eth1 lladdr 02:00:00:00:00:01 REACHABLE',
  'ff02::2 dev eth1 lladdr 33:33:00:00:00:02 NOARP',
  '',
])('what tells of no machine is passed over: %s', (line) => expect(parseNeighbour(line)).toBeUndefined());
