/** What the node is and can do: the machine's facts, the findings of every runtime and of the network. */
import type { NodeReport } from '@skerry/contract';
import { asSkerryError, type Bytes, type ProbeFinding } from '@skerry/model';
import type { NodeNetwork } from '@skerry/network';
import type { Engine } from '../engines/engine.ts';
import type { MachineFacts } from '../ports.ts';

export interface NodeReportOptions {
  readonly nodeName: string;
  readonly machine: () => Promise<MachineFacts>;
  readonly network: NodeNetwork;
  readonly networkTrouble: () => string | undefined;
  /** Why packets do not go to other nodes and services as they should. */
  readonly routingTrouble: () => string | undefined;
  /** Why devices can not come in as they should. */
  readonly deviceTrouble: () => string | undefined;
  readonly engines: readonly Engine[];
}

/** A common size of a small guest: what a runtime costs beyond the memory of its guest hardly depends on it. */
const REFERENCE_MEMORY = (64 * 1024 * 1024) as Bytes;

export async function probeNode(options: NodeReportOptions, signal: AbortSignal): Promise<ProbeFinding[]> {
  const { engines, network, networkTrouble, routingTrouble, deviceTrouble } = options;
  const [routing, devices] = [routingTrouble(), deviceTrouble()];
  const ofNetwork = networkTrouble()
    ? Promise.resolve([missing('network', networkTrouble()!)])
    : network.probe(signal).catch((thrown) => [missing('network', asSkerryError(thrown).message)]);
  const ofEngines = engines.map(({ runtime, trouble }) =>
    trouble === undefined
      ? runtime.probe(signal).catch((thrown) => [missing(runtime.kind, asSkerryError(thrown).message)])
      : Promise.resolve([missing(runtime.kind, trouble)]),
  );
  return [
    ...(await Promise.all([ofNetwork, ...ofEngines])).flat(),
    ...(routing === undefined ? [] : [missing('network.services', routing)]),
    ...(devices === undefined ? [] : [missing('devices', devices)]),
  ];
}

export async function nodeReport(options: NodeReportOptions, signal: AbortSignal): Promise<NodeReport> {
  const [facts, findings, underlay] = await Promise.all([
    options.machine(),
    probeNode(options, signal),
    options.network.underlay(signal),
  ]);
  const working = options.engines.filter((engine) => engine.up);
  return {
    name: options.nodeName,
    status: {
      ...facts,
      subnet: options.network.subnet,
      ...(options.network.subnet6 !== undefined && { subnet6: options.network.subnet6 }),
      ...(underlay !== undefined && { underlay }),
      ...(options.network.networks.length > 0 && { networks: [...options.network.networks] }),
      findings,
    },
    overheadBytes: Object.fromEntries(
      working.map(({ runtime }) => [runtime.kind, runtime.overheadBytes(REFERENCE_MEMORY)]),
    ),
  };
}

const missing = (name: string, text: string): ProbeFinding => ({ name, ok: false, level: 'missing', text });
