/**
 * A node network in the network namespace that this program runs in, for tests of several nodes on one machine: a line of
 * JSON in is one verb, a line out is its answer. Ends, and leaves nothing, when its input does.
 */
import { createInterface } from 'node:readline';
import { endProcess, type ProcessRef } from '@skerry/host';
import type { AttachRequest, ClientPaths, NetworkService, OverlayPeer } from '../index.ts';
import { type Bed, get, inside, limit, openBed, serve, tracesOf } from './bed.ts';

let bed: Bed;
const requests = new Map<string, AttachRequest>();
const servers = new Map<string, ProcessRef>();

const verbs = {
  async open({ cidr, accessAddresses }: { cidr: string; accessAddresses?: string[] }) {
    bed = await openBed({ cidr, ...(accessAddresses && { accessAddresses }) });
    return {
      id: bed.identity.id,
      underlay: await bed.network.underlay(limit()),
      subnet6: bed.network.subnet6,
    };
  },
  async attach({ slot, port, name }: { slot: number; port: number; name: string }) {
    const request = bed.request(slot);
    await bed.network.attach(request, limit());
    const netns = bed.netnsOf(request);
    const server = await serve(netns, port, name);
    servers.set(request.uid, server);
    requests.set(request.uid, request);
    return { uid: request.uid, address: request.address, address6: request.address6, netns };
  },
  async detach({ uid }: { uid: string }) {
    const server = servers.get(uid);
    if (server) await endProcess(server, 0);
    servers.delete(uid);
    await bed.network.detach(uid as Parameters<typeof bed.network.detach>[0], limit());
  },
  setPeers: ({ peers }: { peers: OverlayPeer[] }) => bed.network.setPeers(peers, limit()),
  setServices: ({ services }: { services: NetworkService[] }) => bed.network.setServices(services, limit()),
  setClients: ({ paths }: { paths: ClientPaths }) => bed.network.setClients(paths, limit()),
  /** Another program on the same data folder takes over. */
  async again({ keep }: { keep: string[] }) {
    const next = bed.again();
    const kept = keep.flatMap((uid) => requests.get(uid) ?? []);
    await next.start(kept, limit());
    bed = { ...bed, network: next };
  },
  async run({ netns, argv }: { netns?: string; argv: [string, ...string[]] }) {
    const [file, ...args] = argv;
    const { code, stdout, stderr } = await (netns === undefined
      ? inside(undefined, file, ...args)
      : inside(netns, file, ...args));
    return { code, stdout, stderr };
  },
  get: ({ netns, url }: { netns?: string; url: string }) => get(netns, url),
  async close() {
    for (const server of servers.values()) await endProcess(server, 0);
    servers.clear();
    await bed.close();
    return tracesOf(bed.identity);
  },
};

const lines = createInterface({ input: process.stdin });
for await (const line of lines) {
  const { verb, params } = JSON.parse(line) as { verb: keyof typeof verbs; params: never };
  const answer = await verbs[verb](params).then(
    (value: unknown) => ({ value }),
    (error: Error) => ({ error: error.message }),
  );
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await verbs.close().catch(() => undefined);
process.exit();
