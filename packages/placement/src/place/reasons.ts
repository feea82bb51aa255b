/** The closed registry of reasons why a node does not get an instance. What to do is said here; the numbers come from the check. */

const define = <const T extends Record<string, { readonly title: string; readonly remedy: string }>>(
  table: T,
): T => table;

export const REASONS = define({
  no_nodes: {
    title: 'there is no node',
    remedy: 'Let a node join.',
  },
  not_ready: {
    title: 'the node is not ready',
    remedy: 'Look at the node: its agent does not report.',
  },
  unschedulable: {
    title: 'the node takes no new instances',
    remedy: 'Open it again, if its maintenance is over.',
  },
  runtime: {
    title: 'the node does not have the runtime',
    remedy: 'Install what the node lacks, or choose another runtime.',
  },
  acceleration: {
    title: 'the node would have to emulate',
    remedy: 'Give the node its hardware acceleration, or do not ask for it.',
  },
  network: {
    title: 'the node does not have the network',
    remedy: 'Start its agent with --network NAME=BRIDGE, or do without the card.',
  },
  selector: {
    title: 'the node does not have the labels',
    remedy: 'Label a node so, or change placement.nodeSelector.',
  },
  taint: {
    title: 'the node is kept for others',
    remedy: 'Tolerate the taint, or take it from the node.',
  },
  other_site: {
    title: 'the node is at another site',
    remedy: 'Add a node at the site, or allow more sites.',
  },
  latency: {
    title: 'the node is too far away',
    remedy: 'Allow more latency, add a node nearer, or a faster link.',
  },
  affinity: {
    title: 'what it must be near is not there',
    remedy: 'Start that first, or do without the affinity.',
  },
  anti_affinity: {
    title: 'what it must be away from is there',
    remedy: 'Add a node elsewhere, or move what is there.',
  },
  repelled: {
    title: 'an instance there keeps it away',
    remedy: 'Move that instance, or add a node elsewhere.',
  },
  port_taken: {
    title: 'the port to publish is taken',
    remedy: 'Publish another port, or end what has it.',
  },
  memory: {
    title: 'not enough memory is free',
    remedy: 'Ask for less, end something, or add a node.',
  },
  cpus: {
    title: 'not enough processors are left to promise',
    remedy: 'Ask for less, end something, or add a node.',
  },
  disk: {
    title: 'not enough disk is free',
    remedy: 'Ask for less, delete something, or add a node.',
  },
  addresses: {
    title: 'the node network has no free address',
    remedy: 'Delete instances that are not needed, or add a node.',
  },
});

export type ReasonCode = keyof typeof REASONS;
