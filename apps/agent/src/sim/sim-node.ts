/**
 * A node that only pretends: the agent itself, with its ledger in memory, the sim runtime and the sim network, joined to a
 * controller over the real session. For tests of scale; it touches no host, and nothing of it outlives its process.
 */
import { type Identity, identityOf } from '@skerry/host';
import type { ImageContent } from '@skerry/images';
import { SkerryError } from '@skerry/model';
import { createSimNetwork } from '@skerry/network';
import { type Clock, realClock } from '@skerry/reconcile';
import { createSimRuntime } from '@skerry/runtimes';
import { createMemoryStore } from '@skerry/store';
import { type Agent, createAgent } from '../agent.ts';
import { ControllerConnection } from '../link/connection.ts';
import { type CredentialKeep, joinController } from '../link/credentials.ts';
import type { Logger, MachineFacts, NodeVolumes } from '../ports.ts';

export interface SimNodeOptions {
  /** Single-use: it joins with it. */
  readonly token: string;
  /** The name that it wants; the token's own counts more. */
  readonly name: string;
  /** 0 and up, its own among the nodes of its process: from it comes its subnet. */
  readonly number: number;
  readonly logger: Logger;
  readonly clock?: Clock;
  readonly machine?: Partial<MachineFacts>;
  /** How it waits for its turn to dial; absent: it does not. */
  readonly inTurn?: (dial: () => Promise<void>) => Promise<void>;
}

export interface SimNode {
  readonly name: string;
  readonly agent: Agent;
  stop(): Promise<void>;
}

/** A /24 of 10.64.0.0/10 for each, where the subnets of nodes are taken from. */
const MOST_NODES = 2 ** 14;
/** Nobody resumes a watch of this ledger: it only has to hold what is. */
const KEPT_REVISIONS = 1;
const GiB = 2 ** 30;

const MACHINE: MachineFacts = {
  ...{ arch: 'amd64', version: 'sim', kernel: 'sim' },
  capacity: { cpus: 4, memoryBytes: 8 * GiB, diskBytes: 64 * GiB },
};

// Shared by all: they hold nothing of any one node.
const IDENTITY: Identity = identityOf('00000000', '/nonexistent');
const VOLUMES: NodeVolumes = {
  ensure: async ({ uid }) => `/nonexistent/${uid}`,
  ensureDisk: async ({ uid }) => `/nonexistent/${uid}`,
  remove: async () => undefined,
};
const IMAGES: ImageContent = {
  blobPath: (digest) => `/nonexistent/${digest}`,
  has: async () => false,
  async facts(digest) {
    throw new SkerryError('image_not_found', `a simulated node has no images, and was asked for ${digest}`);
  },
};

function createMemoryKeep(): CredentialKeep {
  const texts = new Map<string, string>();
  return { read: (name) => texts.get(name), write: (name, text) => void texts.set(name, text) };
}

/** Where another process has nodes of the same numbers, theirs are taken. */
const CROWDS = 4;
const subnetsOf = (number: number) =>
  Array.from({ length: CROWDS }, (_, crowd) =>
    subnetOf((number + (crowd * MOST_NODES) / CROWDS) % MOST_NODES),
  );
const subnetOf = (number: number) => `10.${64 + (number >> 8)}.${number & 255}.0/24`;

/** Joins and starts; resolves when the agent is on its way. Errors: those of joining; request_invalid. */
export async function startSimNode(options: SimNodeOptions): Promise<SimNode> {
  const { token, name, number, logger, clock = realClock, machine, inTurn } = options;
  if (number < 0 || number >= MOST_NODES)
    throw new SkerryError(
      'request_invalid',
      `there is no subnet for more than ${MOST_NODES} simulated nodes`,
    );
  const keep = createMemoryKeep();
  const subnets = subnetsOf(number);
  const credentials = await joinController(keep, token, name, subnets);
  const connection = new ControllerConnection({
    ...{ dataDir: keep, credentials, clock, logger },
    known: () => agent.desired(),
    node: () => agent.node,
    ...(inTurn && { inTurn }),
  });
  const facts = { ...MACHINE, ...machine };
  const agent: Agent = createAgent({
    nodeName: credentials.node,
    ledger: createMemoryStore({ keepRevisions: KEPT_REVISIONS }),
    runtimes: [createSimRuntime({ clock })],
    network: createSimNetwork({ identity: IDENTITY, subnet: credentials.subnet ?? subnets[0]! }),
    ...{ volumes: VOLUMES, images: IMAGES, logger, clock },
    machine: async () => facts,
    controller: connection,
  });
  await agent.start(new AbortController().signal);
  return {
    name: credentials.node,
    agent,
    async stop() {
      connection.close();
      await agent.stop();
    },
  };
}
