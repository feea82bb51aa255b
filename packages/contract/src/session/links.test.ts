// Both links over a session: what one side says is what the other side hears.
import type { Id, LogLine } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { expect, test } from 'vitest';
import type { ControllerLink, DesiredState, NodeLink, NodeReport } from '../agent.ts';
import { remoteController, serveController } from './controller-calls.ts';
import { remoteNode, serveNode } from './node-calls.ts';
import { createPeer, type Peer, type Served } from './peer.ts';

const NOTHING: Served = { calls: {}, streams: {} };
const uid = 'guest' as Id<'instance'>;
const never = new AbortController().signal;

/** Asks the one that answers with `served`. */
function peerOf(served: Served): { peer: Peer; received: () => number } {
  let bytes = 0;
  const asking: Peer = createPeer(
    { send: async (text) => void setImmediate(() => answering.receive(text)), close: () => undefined },
    NOTHING,
  );
  const answering = createPeer(
    {
      async send(text) {
        bytes += text.length;
        setImmediate(() => asking.receive(text));
      },
      close: () => undefined,
    },
    served,
  );
  return { peer: asking, received: () => bytes };
}

const state = (generation: number, images: string[]): DesiredState => ({
  generation,
  instances: [],
  volumes: [],
  images,
});

function controller() {
  const reports: unknown[] = [];
  const states: DesiredState[] = [];
  let wake = () => {};
  const link: ControllerLink = {
    register: async (report) => void reports.push(report),
    measure: async () => undefined,
    sighted: async () => undefined,
    lease: async (node, { leases }) => leases.map(({ uid }) => ({ uid, forMs: node.length })),
    report: async (node, observed) => void reports.push({ node, observed }),
    async *desired(_, signal) {
      let last: DesiredState | undefined;
      while (!signal.aborted) {
        if (states.at(-1) !== last) {
          last = states.at(-1);
          yield last!;
        } else
          await new Promise<void>((resolve) => {
            wake = resolve;
            signal.addEventListener('abort', () => resolve(), { once: true });
          });
      }
    },
  };
  const want = (one: DesiredState) => {
    states.push(one);
    wake();
  };
  return { link, reports, want };
}

test('a node hears what is desired of it, is heard as itself, and skips what is older than the newest', async () => {
  const { link, reports, want } = controller();
  want(state(1, ['a']));
  const { peer } = peerOf(serveController(link, 'north'));
  const remote = remoteController(peer, () => undefined);
  await remote.register({ name: 'somebody else' } as NodeReport);
  await remote.report('somebody else', { generation: 1, instances: [], volumes: [] });
  expect(reports).toEqual([
    { name: 'north' },
    { node: 'north', observed: expect.objectContaining({ generation: 1 }) },
  ]);
  const asked = { holder: 'machine', leases: [{ uid, epoch: 1, holds: false }] };
  expect(await remote.lease('somebody else', asked)).toEqual([{ uid, forMs: 'north'.length }]);
  const desired = remote.desired('north', never)[Symbol.asyncIterator]();
  expect((await desired.next()).value).toEqual(state(1, ['a']));
  for (let generation = 2; generation <= 50; generation++) want(state(generation, [`${generation}`]));
  const seen: number[] = [];
  while (seen.at(-1) !== 50) seen.push((await desired.next()).value.generation);
  expect(seen.length).toBeLessThan(10);
  await desired.return?.();
});

test('a session that begins anew sends nothing that the node knows', async () => {
  const { link, want } = controller();
  const known = state(
    7,
    Array.from({ length: 500 }, (_, i) => `sha256:${i}`),
  );
  want({ ...known, generation: 9 });
  const { peer, received } = peerOf(serveController(link, 'north'));
  const desired = remoteController(peer, () => known)
    .desired('north', never)
    [Symbol.asyncIterator]();
  expect((await desired.next()).value).toEqual({ ...known, generation: 9 });
  expect(received()).toBeLessThan(100);
  want(state(10, []));
  expect((await desired.next()).value).toEqual(state(10, []));
  await desired.return?.();
});

test('a command, a console and a log of a node far away are as those of one that is near', async () => {
  const written: string[] = [];
  let kills = 0;
  let exited = (_: number) => {};
  const exit = new Promise<number>((resolve) => {
    exited = resolve;
  });
  const text = (data: Uint8Array) => Buffer.from(data).toString();
  const node = {
    async exec() {
      return {
        exit,
        output: (async function* () {
          yield { stream: 'stdout' as const, data: new Uint8Array([0, 255, 10]) };
          await exit;
          yield { stream: 'stderr' as const, data: Buffer.from('bye') };
        })(),
        write: async (data: Uint8Array) => void written.push(text(data)),
        closeInput: async () => exited(7),
        resize: async (columns: number, rows: number) => void written.push(`${columns}x${rows}`),
        kill: async () => void kills++,
      };
    },
    async console(_: unknown, signal: AbortSignal) {
      return {
        output: (async function* () {
          yield Buffer.from('login: ');
          await new Promise((resolve) => signal.addEventListener('abort', resolve));
        })(),
        write: async (data: Uint8Array) => void written.push(text(data)),
      };
    },
    async *logs() {
      yield { text: 'one' } as unknown as LogLine;
    },
    stats: async (_: unknown) => ({ cpuMs: 5 }),
    screenshot: async () => new Uint8Array([137, 80]),
  } as unknown as NodeLink;
  const over = new AbortController();
  const { peer } = peerOf(serveNode(node, over.signal));
  const remote = remoteNode(peer);

  expect(await remote.stats(uid, never)).toEqual({ cpuMs: 5 });
  expect([...(await remote.screenshot(uid, never))]).toEqual([137, 80]);
  for await (const line of remote.logs(uid, {} as never, never)) expect(line).toEqual({ text: 'one' });

  const session = await remote.exec(uid, { command: ['sh'], terminal: true }, never);
  await session.write(Buffer.from('ls\n'));
  await session.resize(80, 25);
  await session.closeInput();
  const output: unknown[] = [];
  for await (const { stream, data } of session.output) output.push([stream, [...data]]);
  expect(output).toEqual([
    ['stdout', [0, 255, 10]],
    ['stderr', [...Buffer.from('bye')]],
  ]);
  expect(await session.exit).toBe(7);
  await session.write(Buffer.from('too late'));

  const serial = await remote.console(uid, never);
  await serial.write(Buffer.from('root\n'));
  for await (const data of serial.output) {
    expect(text(data)).toBe('login: ');
    break;
  }
  expect(written).toEqual(['ls\n', '80x25', 'root\n']);

  await remote.exec(uid, { command: ['sh'], terminal: true }, never);
  over.abort();
  await eventually('a command whose session is over is ended', () => kills === 1);
});

test('devices are told of, told about and asked as over no distance; who knows nothing of them says so', async () => {
  const { link } = controller();
  const { peer } = peerOf(
    serveController(
      {
        ...link,
        async *deviceFeed(node, since) {
          yield { type: 'synced', revision: since + node.length };
        },
        async *deviceCall(node, to, call) {
          yield [node, to, call.verb];
        },
      },
      'north',
    ),
  );
  const remote = remoteController(peer, () => undefined);
  const told: unknown[] = [];
  for await (const item of remote.deviceFeed!('other', 7, never)) told.push(item);
  const call = { verb: 'session-take', project: 'p', device: 'd', clientId: 'c' } as const;
  for await (const value of remote.deviceCall!('other', 'south', call, never)) told.push(value);
  expect(told).toEqual([{ type: 'synced', revision: 12 }, ['north', 'south', 'session-take']]);
  const report = { devices: [], streams: [], listening: [] };
  await expect(remote.devices!('north', report)).rejects.toMatchObject({ code: 'unsupported' });

  const node = {
    async *hub({ verb }: { verb: string }) {
      yield verb;
    },
  } as unknown as NodeLink;
  const asked: unknown[] = [];
  for await (const value of remoteNode(peerOf(serveNode(node, never)).peer).hub!(call, never))
    asked.push(value);
  expect(asked).toEqual(['session-take']);
});
