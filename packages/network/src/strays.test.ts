// A client moves from node to node while it holds connections to a service.
import { createInterface } from 'node:readline';
import { ipBatch, startInteractive } from '@skerry/host';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ClientPaths, NetworkService } from './index.ts';
import { get, inside, isRoot, limit } from './test/bed.ts';
import { type Nodes, openNodes, type RemoteGuest, type RemoteNode } from './test/nodes.ts';

const VIRTUAL = '10.190.0.7';
const PHONE = '198.19.0.2';
/** Sends numbered lines on one connection as it is told, and prints what comes back. */
const TALKS = `
const socket = require('node:net').connect(8080, '${VIRTUAL}', () => console.log('connected'));
socket.setNoDelay(true);
socket.on('error', (error) => { console.log(error.code); process.exit(); });
let rest = '';
socket.on('data', (data) => { rest += data; const lines = rest.split('\\n'); rest = lines.pop(); for (const line of lines) console.log(line); });
require('node:readline').createInterface({ input: process.stdin })
  .on('line', (line) => socket.write(line + '\\n')).on('close', () => process.exit());`;
/** Says its name before each line that it sends back. */
const ECHO = `
require('node:net').createServer((socket) => {
  let rest = ''; socket.on('error', () => {});
  socket.on('data', (data) => { rest += data; const lines = rest.split('\\n'); rest = lines.pop(); for (const line of lines) socket.write(process.argv[1] + ' ' + line + '\\n'); });
}).listen(7070);
setTimeout(() => process.exit(), 120000);`;

describe.skipIf(!isRoot)('connections of a client that moves', () => {
  let bed: Nodes;
  let nodes: RemoteNode[];
  let guests: RemoteGuest[];
  const must = async (lines: string[], netns: string) =>
    expect(await ipBatch(lines, limit(), netns)).toEqual([]);
  const service = (at: number): NetworkService => ({
    uid: 'echo',
    names: ['echo.default.edge'],
    address: VIRTUAL,
    ports: [{ name: 'echo', port: 8080, protocol: 'tcp', targetPort: 7070 }],
    // each node leads to its own guest
    backends: guests.map(({ uid, address }, index) => ({
      ...{ uid: uid as NetworkService['backends'][number]['uid'], address },
      ...{ tier: index === at ? 0 : 1, open: true },
    })),
  });
  /** The access network leads the phone's packets to this node, and packets for the phone to it. */
  const attach = async (at: number) => {
    const via = at === 0 ? '198.19.0.1 dev eth0' : `198.19.${at}.1 dev leg${at}`;
    await must([`route replace ${VIRTUAL}/32 via ${via} src ${PHONE}`], bed.client.netns);
    for (const [index, { netns }] of nodes.entries()) {
      const here = index === 0 ? 'dev eth1' : `via 198.19.${index}.9`;
      const way = index === at ? here : `via 198.18.0.${at + 1}`;
      await must([`route replace ${PHONE}/32 ${way}`], netns);
    }
  };
  const paths = (more: Partial<ClientPaths> = {}): ClientPaths => ({
    ...{ here: [], moved: [], othersMayCome: true },
    ...more,
  });
  /** `trail`: where the phone is, and was before, the latest first. */
  const tell = (trail: readonly number[]) =>
    Promise.all(
      nodes.map((node, index) => {
        const place = trail.indexOf(index);
        const next = trail[place + 1];
        const known = place >= 0 && trail.length > 1;
        return node.setClients(
          paths({
            neighbours: nodes.flatMap((_, at) => (at === index ? [] : [`n${at}`])),
            here: place === 0 ? [PHONE] : [],
            moved: known ? [{ address: PHONE, ...(next !== undefined && { next: `n${next}` }) }] : [],
          }),
        );
      }),
    );
  const talk = async () => {
    const argv = ['netns', 'exec', bed.client.netns, process.execPath, '-e', TALKS];
    const { input, stdout, exit } = await startInteractive('ip', argv, {});
    const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
    const next = async () => String((await lines.next()).value);
    expect(await next()).toBe('connected');
    return {
      next,
      say(text: string) {
        input.write(`${text}\n`);
        return next();
      },
      send: (text: string) => input.write(`${text}\n`),
      async end() {
        input.end();
        await exit;
      },
    };
  };

  beforeAll(async () => {
    bed = await openNodes(['10.64.32.0/22', '10.64.36.0/22', '10.64.40.0/22']);
    nodes = [...bed.nodes];
    guests = await Promise.all(nodes.map((node, index) => node.attach(index, 80, `g${index}`)));
    for (const [index, { netns }] of nodes.entries()) {
      const others = nodes.flatMap(({ underlay, subnet }, at) =>
        at === index ? [] : [{ node: `n${at}`, address: underlay, subnet }],
      );
      await nodes[index]!.setPeers(others);
      await nodes[index]!.setServices([service(index)]);
      if (index === 0) continue;
      await must([`link add leg type veth peer name leg${index} netns ${bed.client.netns}`], netns);
      await must([`addr add 198.19.${index}.1/24 dev leg`, 'link set leg up'], netns);
      await must(
        [`addr add 198.19.${index}.9/24 dev leg${index}`, `link set leg${index} up`],
        bed.client.netns,
      );
    }
    for (const [index, guest] of guests.entries()) {
      const started = await nodes[index]!.run(
        guest,
        'sh',
        '-c',
        '"$0" -e "$1" "$2" >/dev/null 2>&1 &',
        process.execPath,
        ECHO,
        `g${index}`,
      );
      expect(started.code).toBe(0);
    }
    await inside(
      bed.client.netns,
      'sysctl',
      '-qw',
      'net.ipv4.conf.all.rp_filter=0',
      'net.ipv4.conf.default.rp_filter=0',
    );
    await attach(0);
    await eventually('a phone is answered', async () => {
      const probe = await talk();
      const answer = await probe.say('hello');
      await probe.end();
      return answer === 'g0 hello';
    });
  }, 60_000);
  afterAll(() => bed?.close());

  test('go on where they began, without a byte lost, and new ones go to the nearest', async () => {
    await tell([0]);
    const first = await talk();
    expect(await first.say('1')).toBe('g0 1');
    await attach(1);
    await tell([1, 0]);
    expect(await first.say('2')).toBe('g0 2');
    const second = await talk();
    expect(await second.say('a')).toBe('g1 a');
    await attach(2);
    await tell([2, 1, 0]);
    expect(await first.say('3')).toBe('g0 3');
    expect(await second.say('b')).toBe('g1 b');
    const third = await talk();
    expect(await third.say('x')).toBe('g2 x');
    await attach(0);
    await tell([0, 2, 1]);
    expect(await first.say('4')).toBe('g0 4');
    expect(await second.say('c')).toBe('g1 c');
    expect(await third.say('y')).toBe('g2 y');
    for (const one of [first, second, third]) await one.end();
  });

  test('go on before anybody has told where they began: the neighbour that knows them takes them', async () => {
    await attach(0);
    await tell([0]);
    const early = await talk();
    expect(await early.say('1')).toBe('g0 1');
    await attach(1);
    expect(await early.say('2')).toBe('g0 2'); // nobody has told node 1 of the phone
    expect(await early.say('3')).toBe('g0 3');
    await tell([1, 0]);
    expect(await early.say('4')).toBe('g0 4');
    await early.end();
  });

  test('are refused when nobody tells of them, and at once where the phone was all along', async () => {
    await attach(0);
    await tell([0]);
    const lost = await talk();
    expect(await lost.say('1')).toBe('g0 1');
    await attach(1);
    await tell([1]);
    await Promise.all(nodes.map((node) => node.setClients(paths({ othersMayCome: false }))));
    expect(await lost.say('2')).toBe('ECONNRESET');
    await lost.end();
    await attach(0);
    await Promise.all(nodes.map((node) => node.setClients(paths())));
    const stranger = await talk();
    expect(await stranger.say('1')).toBe('g0 1');
    await attach(1);
    expect(await stranger.say('2')).toBe('ECONNRESET'); // after two seconds
    await stranger.end();
  });

  test('nothing begins over the overlay', async () => {
    const begin = () =>
      inside(bed.client.netns, 'busybox', 'nc', '-w', '2', VIRTUAL, '8080', '-e', '/bin/true').then(
        ({ code }) => code,
      );
    await attach(1);
    await tell([1, 0]);
    expect(await begin()).toBe(0);
    // node 1 as it should not be: it has no rules, and sends what begins as it is
    const { id, netns } = nodes[1]!;
    await nodes[1]!.run(undefined, 'nft', 'flush', 'ruleset');
    await must([`route replace ${VIRTUAL}/32 via 10.64.32.1 dev sk${id}ov onlink metric 1`], netns);
    expect(await begin()).not.toBe(0);
    await must([`route del ${VIRTUAL}/32 via 10.64.32.1 dev sk${id}ov metric 1`], netns);
  });

  test('an edge without clients lets nothing of them in over the overlay, and nothing is left', async () => {
    const list = async (...what: string[]) => (await nodes[0]!.run(undefined, 'nft', 'list', ...what)).stdout;
    const led = () => list('set', 'inet', `skerry_${nodes[0]!.id}`, 'led');
    await tell([1, 0]);
    expect(await led()).toContain(VIRTUAL);
    await nodes[0]!.setClients(paths({ othersMayCome: false }));
    expect(await led()).not.toContain(VIRTUAL);
    expect(await list('tables')).not.toContain('strays');
    expect(await get(bed.client.netns, `http://${VIRTUAL}:8081/`)).toBeUndefined();
  });
});
