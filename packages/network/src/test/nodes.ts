/**
 * Nodes beside each other on one machine, each a network namespace with a program of its own in it, on a wire between them;
 * and a client behind the first one. `close` removes everything.
 */
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { ipBatch, startInteractive } from '@skerry/host';
import { build } from 'esbuild';
import type { ClientPaths, NetworkService, OverlayPeer } from '../index.ts';
import { limit } from './bed.ts';

export interface RemoteGuest {
  readonly uid: string;
  readonly address: string;
  readonly address6: string;
  readonly netns: string;
}
export interface RemoteNode {
  readonly subnet: string;
  readonly subnet6: string;
  readonly underlay: string;
  readonly id: string;
  readonly netns: string;
  attach(slot: number, port: number, name: string): Promise<RemoteGuest>;
  detach(guest: RemoteGuest): Promise<void>;
  setPeers(peers: readonly OverlayPeer[]): Promise<void>;
  setServices(services: readonly NetworkService[]): Promise<void>;
  setClients(paths: ClientPaths): Promise<void>;
  /** Another program on the same data folder takes over, with these guests. */
  again(keep?: readonly RemoteGuest[]): Promise<void>;
  /** In a guest, or in the node itself. */
  run(
    from: RemoteGuest | undefined,
    ...argv: string[]
  ): Promise<{ code: number; stdout: string; stderr: string }>;
  get(from: RemoteGuest | undefined, url: string): Promise<string | undefined>;
  /** What is left once it is gone. */
  close(): Promise<Record<string, unknown[]>>;
}
export interface Nodes {
  readonly nodes: readonly RemoteNode[];
  /** A machine behind the first node, which is its way out and its name server. */
  readonly client: { readonly netns: string; readonly gateway: string };
  close(): Promise<void>;
}

const must = async (lines: readonly string[], netns?: string) => {
  const failures = await ipBatch(lines, limit(), netns);
  if (failures.length > 0)
    throw new Error(failures.map(({ line, text }) => `${lines[line]}: ${text}`).join('; '));
};

async function startNode(program: string, netns: string) {
  const argv = ['netns', 'exec', netns, process.execPath, program];
  const { input, stdout, stderr, exit } = await startInteractive('ip', argv, {});
  stderr?.pipe(process.stderr);
  const answers = createInterface({ input: stdout })[Symbol.asyncIterator]();
  let last: Promise<unknown> = Promise.resolve();
  const ask = <T>(verb: string, params: object = {}): Promise<T> => {
    const turn = last.then(async () => {
      input.write(`${JSON.stringify({ verb, params })}\n`);
      const { value: line, done } = await answers.next();
      if (done) throw new Error(`the program of ${netns} has ended`);
      const answer = JSON.parse(line) as { value?: T; error?: string };
      if (answer.error !== undefined) throw new Error(answer.error);
      return answer.value as T;
    });
    last = turn.catch(() => undefined);
    return turn;
  };
  const end = async () => {
    input.end();
    await exit;
  };
  return { ask, end };
}

/** For documentation (RFC 3849): the client's link, and its address there ends with 2. */
export const CLIENT_LINK6 = '2001:db8:19::';

/** `subnets`: one node each. The wire is 198.18.0.0/24 (for benchmarks: RFC 2544), the client's link 198.19.0.0/24. */
export async function openNodes(subnets: readonly string[]): Promise<Nodes> {
  const tag = `skt${randomBytes(3).toString('hex')}`;
  const wire = `${tag}-wire`;
  const client = `${tag}-client`;
  const names = subnets.map((_, index) => `${tag}-n${index}`);
  const require = createRequire(import.meta.url);
  const modules = dirname(dirname(require.resolve('esbuild/package.json')));
  const program = join(modules, `.${tag}.mjs`); // beside node_modules, so that native modules are found
  const ends: (() => Promise<unknown>)[] = [
    async () => rmSync(program, { force: true }),
    () =>
      ipBatch(
        [wire, client, ...names].map((name) => `netns del ${name}`),
        limit(),
      ),
  ];
  const close = async () => {
    for (const end of ends.toReversed()) await end();
  };
  try {
    await build({
      entryPoints: [fileURLToPath(new URL('node-program.ts', import.meta.url))],
      outfile: program,
      ...{ bundle: true, platform: 'node', format: 'esm', packages: 'external', logLevel: 'error' },
      conditions: ['@skerry/source'],
      alias: Object.fromEntries(
        ['host', 'model', 'network'].map((name) => [
          `@skerry/${name}`,
          fileURLToPath(new URL(`../../../${name}/src/index.ts`, import.meta.url)),
        ]),
      ),
    });
    await must([wire, client, ...names].map((name) => `netns add ${name}`));
    await must(['link add br0 type bridge', 'link set br0 up'], wire);
    for (const [index, name] of names.entries()) {
      await must(
        [`link add p${index} type veth peer name eth0 netns ${name}`, `link set p${index} master br0 up`],
        wire,
      );
      await must(
        [
          'link set lo up',
          `addr add 198.18.0.${index + 1}/24 dev eth0`,
          'link set eth0 up',
          'route add default via 198.18.0.254', // nobody: what leaves must not come back by chance
        ],
        name,
      );
    }
    await must([`link add eth1 type veth peer name eth0 netns ${client}`], names[0]);
    await must(
      ['addr add 198.19.0.1/24 dev eth1', `addr add ${CLIENT_LINK6}1/64 dev eth1 nodad`, 'link set eth1 up'],
      names[0],
    );
    await must(
      [
        'link set lo up',
        'addr add 198.19.0.2/24 dev eth0',
        `addr add ${CLIENT_LINK6}2/64 dev eth0 nodad`,
        'link set eth0 up',
        'route add default via 198.19.0.1',
        `route add default via ${CLIENT_LINK6}1`,
      ],
      client,
    );
    const nodes: RemoteNode[] = [];
    for (const [index, subnet] of subnets.entries()) {
      const { ask, end } = await startNode(program, names[index]!);
      ends.push(end);
      const accessAddresses = index === 0 ? { accessAddresses: ['198.19.0.1'] } : {};
      const { id, underlay, subnet6 } = await ask<{ id: string; underlay: string; subnet6: string }>('open', {
        cidr: subnet,
        ...accessAddresses,
      });
      nodes.push({
        ...{ subnet, subnet6, id, underlay, netns: names[index]! },
        attach: (slot, port, name) => ask('attach', { slot, port, name }),
        detach: ({ uid }) => ask('detach', { uid }),
        setPeers: (peers) => ask('setPeers', { peers }),
        setServices: (services) => ask('setServices', { services }),
        setClients: (paths) => ask('setClients', { paths }),
        again: (keep = []) => ask('again', { keep: keep.map(({ uid }) => uid) }),
        run: (from, ...argv) => ask('run', { netns: from?.netns, argv }),
        get: (from, url) => ask('get', { netns: from?.netns, url }),
        close: () => ask('close'),
      });
    }
    return { nodes, client: { netns: client, gateway: '198.19.0.1' }, close };
  } catch (error) {
    await close();
    throw error;
  }
}
