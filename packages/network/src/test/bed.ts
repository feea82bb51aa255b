/**
 * A node network of its own on this machine for a test: identity, folder, guests as namespaces with real programs in them.
 * All its targets are addresses in namespaces that it made, or loopback. `close` removes everything.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  endProcess,
  type Identity,
  identityOf,
  ipBatch,
  listLinks,
  listNetns,
  nftTables,
  type ProcessRef,
  run,
  startDaemon,
} from '@skerry/host';
import { canonicalAddress, newId } from '@skerry/model';
import {
  type AttachRequest,
  address6Of,
  addressOfSlot,
  chooseSubnet,
  createLinuxNetwork,
  macOfSlot,
  type NodeNetwork,
  parseSubnet,
  type Subnet,
  type Subnet6,
  subnet6Of,
} from '../index.ts';

export const limit = (ms = 20_000): AbortSignal => AbortSignal.timeout(ms);
export const isRoot = process.getuid?.() === 0;

const silent = { info: () => undefined, warn: () => undefined };

export interface Bed {
  readonly identity: Identity;
  readonly subnet: Subnet;
  readonly subnet6: Subnet6;
  readonly network: NodeNetwork;
  /** Another program on the same data folder, as after a crash of the first. */
  again(): NodeNetwork;
  request(slot: number, more?: Partial<AttachRequest>): AttachRequest;
  netnsOf(request: AttachRequest): string;
  close(): Promise<void>;
}

export interface BedOptions {
  readonly watchMs?: number;
  /** Default: chosen as a data folder's is. */
  readonly cidr?: string;
  readonly accessAddresses?: readonly string[];
  readonly bridges?: Readonly<Record<string, string>>;
}

/** By default no network looks after its name server: several on one data folder, as after a crash, would quarrel. */
export async function openBed(options: BedOptions = {}): Promise<Bed> {
  const { watchMs = 3_600_000, accessAddresses = [], bridges = {} } = options;
  const dataDir = mkdtempSync(join(tmpdir(), 'skerry-network-'));
  const identity = identityOf(randomBytes(4).toString('hex'), dataDir);
  const cidr = options.cidr ?? (await chooseSubnet(identity, limit()));
  const subnet = parseSubnet(cidr);
  const subnet6 = subnet6Of(identity, subnet);
  const make = () =>
    createLinuxNetwork({ identity, subnet: cidr, logger: silent, watchMs, accessAddresses, bridges });
  const made = [make()];
  await made[0]!.start([], limit());
  return {
    identity,
    subnet,
    subnet6,
    network: made[0]!,
    again() {
      const network = make();
      made.push(network);
      return network;
    },
    request: (slot, more = {}) => ({
      uid: newId<'instance'>(),
      hostname: `guest-${slot}`,
      kind: 'netns',
      slot,
      address: addressOfSlot(subnet, slot),
      address6: address6Of(subnet6, subnet, addressOfSlot(subnet, slot)),
      mac: macOfSlot(identity, slot),
      ports: [],
      ...more,
    }),
    netnsOf: (request) => `${identity.netnsPrefix}${request.uid}`,
    async close() {
      for (const network of made) await network.destroy(limit());
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** Runs a program in a network namespace, or in our own. Returns its code and words, whatever the code. */
export function inside(netns: string | undefined, file: string, ...args: string[]) {
  const okCodes = Array.from({ length: 256 }, (_, code) => code);
  const options = { signal: limit(), timeoutMs: 15_000, okCodes };
  if (netns === undefined) return run(file, args, options);
  return run('ip', ['netns', 'exec', netns, file, ...args], options);
}

export const pings = async (netns: string, address: string): Promise<boolean> =>
  (await inside(netns, 'ping', '-n', '-c', '1', '-W', '1', address)).code === 0;

const CLIENT = `
fetch(process.argv[1], { signal: AbortSignal.timeout(2000) })
  .then(async (response) => process.stdout.write(await response.text()))
  .catch(() => process.exit(1));
`;

/** Body of a page as seen from a namespace, or undefined where there is no answer within 2 s. */
export async function get(netns: string | undefined, url: string): Promise<string | undefined> {
  const { code, stdout } = await inside(netns, process.execPath, '-e', CLIENT, url);
  return code === 0 ? stdout : undefined;
}

const SERVER = `
const [port, name] = process.argv.slice(1);
require('node:http').createServer((request, response) => {
  const size = Number(new URL(request.url, 'http://x').searchParams.get('bytes') ?? 0);
  let received = 0;
  request.on('data', (chunk) => { received += chunk.length; });
  request.on('end', () => response.end(size > 0 ? Buffer.alloc(size, 'x') : JSON.stringify({ name, received, from: request.socket.remoteAddress.replace('::ffff:', '') })));
}).listen(Number(port));
const udp = require('node:dgram').createSocket('udp4');
udp.on('message', (text, from) => udp.send(name + ' ' + text, from.port, from.address));
udp.bind(Number(port));
setTimeout(() => process.exit(), 120000);
`;

/** An HTTP server and a UDP echo on `port` in a namespace: tells its name, who asks and how many bytes came. */
export async function serve(netns: string, port: number, name: string): Promise<ProcessRef> {
  const args = ['netns', 'exec', netns, process.execPath, '-e', SERVER, String(port), name];
  return startDaemon({ file: 'ip', args });
}

export const endServer = (server: ProcessRef): Promise<unknown> => endProcess(server, 0);

export interface Outside {
  readonly netns: string;
  /** Address of this machine on the link, and the address of the outside host. */
  readonly hostAddress: string;
  readonly address: string;
  readonly hostAddress6: string;
  readonly address6: string;
  close(): Promise<void>;
}

/** A host beside this machine, on a link of its own (198.18/15 is for benchmarks: RFC 2544), without a route to guests. */
export async function outsideHost(): Promise<Outside> {
  const tag = randomBytes(3).toString('hex');
  const netns = `outside-${tag}`;
  const base = `198.${18 + randomInt(2)}.${randomInt(256)}`;
  const base6 = `fd00:${tag.slice(0, 2)}:${tag.slice(2)}::`;
  const lines = [
    `netns add ${netns}`,
    `link add name out${tag} type veth peer name eth0 netns ${netns}`,
    `addr add ${base}.1/24 dev out${tag}`,
    `addr add ${base6}1/64 dev out${tag} nodad`,
    `link set dev out${tag} up`,
  ];
  const insideLines = [
    `addr add ${base}.2/24 dev eth0`,
    `addr add ${base6}2/64 dev eth0 nodad`,
    'link set dev eth0 up',
    'link set dev lo up',
  ];
  const close = async () => {
    await ipBatch([`link del dev out${tag}`, `netns del ${netns}`], limit());
  };
  const failures = [...(await ipBatch(lines, limit())), ...(await ipBatch(insideLines, limit(), netns))];
  if (failures.length > 0) {
    await close();
    throw new Error(failures.map((failure) => failure.text).join('; '));
  }
  return {
    ...{ netns, hostAddress: `${base}.1`, address: `${base}.2`, close },
    ...{ hostAddress6: canonicalAddress(`${base6}1`), address6: canonicalAddress(`${base6}2`) },
  };
}

function processesNaming(text: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(text);
    } catch {
      return false;
    }
  });
}

function linkTarget(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/** All that a data folder has on the host: interfaces, namespaces, tables, processes, files of its own. */
export async function tracesOf({ id, runDir, netnsPrefix, interfacePrefix, nftTable }: Identity) {
  const claims = '/run/skerry/ports';
  const list = (folder: string) => {
    try {
      return readdirSync(folder);
    } catch {
      return [];
    }
  };
  return {
    links: listLinks(interfacePrefix).map((link) => link.name),
    namespaces: listNetns(netnsPrefix),
    tables: (await nftTables(limit()))
      .filter((table) => table.name === nftTable)
      .map((table) => table.family),
    processes: processesNaming(id),
    files: list(runDir),
    claims: list(claims).filter((name) => linkTarget(join(claims, name)).startsWith(`${id}:`)),
  };
}
