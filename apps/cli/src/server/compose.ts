import { dirname, join } from 'node:path';
import { type Agent, createAgent, createLeaseFiles } from '@skerry/app-agent';
import { type Controller, createController } from '@skerry/app-controller';
import {
  CgroupEntry,
  type Identity,
  machineFacts,
  type NeighbourListener,
  openEchoes,
  tcpRoundTrips,
  watchNeighbours,
} from '@skerry/host';
import {
  createImageStore,
  createVolumes,
  type ImageSource,
  type ImageStore,
  type Volumes,
} from '@skerry/images';
import { createLinuxNetwork, type NodeNetwork } from '@skerry/network';
import {
  createContainerdRuntime,
  createDockerRuntime,
  createLxcRuntime,
  createQemuRuntime,
  createSimRuntime,
  createVmRuntime,
  openSimFolder,
  PreviousLogs,
  type Runtime,
  removeUnrecorded,
} from '@skerry/runtimes';
import { openSqliteStore, type Store } from '@skerry/store';
import { VERSION } from '../version.ts';
import { type EngineChoice, type EngineOptions, engineChoice } from './engine-choice.ts';
import { builtPath, devicesScript } from './layout.ts';
import type { Logger } from './log.ts';
import { subnetOf } from './subnet.ts';

/** What was wished and what became of it can be written on a disk that guests have filled, for some hundred small writes. */
const STORE_RESERVE_BYTES = 4 * 1024 * 1024;

/** The node of the machine that the controller itself runs on. */
export const NODE_NAME = 'local';

export interface NodeParts {
  readonly images: ImageStore;
  readonly network: NodeNetwork;
  readonly volumes: Volumes;
  readonly runtimes: readonly Runtime[];
  readonly ledger: Store;
  readonly agent: Agent;
}
export interface NodeOptions extends EngineOptions {
  readonly sim?: boolean;
  /** The network that the controller chose for this node's guests. Default: chosen here. */
  readonly subnet?: string;
  /** IPv4 address at which other nodes reach this one. Default: the one that the default route leaves by. */
  readonly underlay?: string;
  /** Addresses of this machine at which clients ask for the names of services. */
  readonly access?: readonly string[];
  /** Networks besides the node network, each a bridge of this machine. */
  readonly network?: readonly { readonly name: string; readonly bridge: string }[];
  /** Interfaces at which clients are seen that come through an access point. */
  readonly accessInterface?: readonly { readonly interface: string; readonly accessPoint: string }[];
  /** Where devices come in (`mqtts://0.0.0.0:8883` …, `none`). Absent: this node has no device program. */
  readonly devices?: readonly string[];
  /** Another broker, which devices are connected to, in place of the node's own. */
  readonly deviceBroker?: string;
  readonly deviceBrokerCredentials?: string;
  readonly deviceBrokerTopics?: string;
  /** Default: `local`. */
  readonly nodeName?: string;
  /** Where images come from that are not here; absent: all are. */
  readonly imageSource?: () => ImageSource;
}

/** None of them is started. Errors: host_missing for what was not built. */
export function composeRuntimes(
  identity: Identity,
  { engine, docker, podman }: EngineChoice,
  images: ImageStore,
  logger: Logger,
): Runtime[] {
  const socketPath = docker ?? podman;
  return [
    socketPath !== undefined
      ? createDockerRuntime({
          identity,
          images,
          logger: logger.child({ room: 'docker' }),
          socketPath,
          ...(podman === undefined ? {} : { only: 'podman' as const }),
        })
      : createContainerdRuntime({
          identity,
          images,
          logger: logger.child({ room: 'containerd' }),
          ...(engine === undefined ? {} : { engine: { address: engine } }),
        }),
    createQemuRuntime({
      identity,
      images,
      kernelPath: builtPath('pebble'),
      supervisorPath: builtPath('supervisor'),
      logger: logger.child({ room: 'qemu' }),
    }),
    createLxcRuntime({
      identity,
      images,
      nativeFolder: dirname(builtPath('supervisor')),
      logger: logger.child({ room: 'lxc' }),
    }),
    createVmRuntime({
      identity,
      images,
      kernelPath: builtPath('pebble'),
      supervisorPath: builtPath('supervisor'),
      logger: logger.child({ room: 'vm' }),
    }),
  ];
}

function outsideOf(options: NodeOptions) {
  const { deviceBroker: url, deviceBrokerCredentials, deviceBrokerTopics } = options;
  if (url === undefined) return {};
  return {
    outside: {
      url,
      ...(deviceBrokerCredentials !== undefined && { credentialsFile: deviceBrokerCredentials }),
      ...(deviceBrokerTopics !== undefined && { topics: deviceBrokerTopics }),
    },
  };
}

export async function composeNode(
  identity: Identity,
  options: NodeOptions,
  logger: Logger,
  signal: AbortSignal,
): Promise<NodeParts> {
  const choice = engineChoice(identity, options);
  const removed = await removeUnrecorded(identity, signal);
  if (removed.length > 0) logger.warn({ removed }, 'removed what was left of guests that nobody knows');
  const subnet = await subnetOf(identity, options.subnet, signal);
  const images = await createImageStore({ dataDir: identity.dataDir });
  const network = createLinuxNetwork({
    ...{ identity, subnet, logger: logger.child({ room: 'network' }) },
    ...(options.underlay === undefined ? {} : { underlay: options.underlay }),
    accessAddresses: options.access ?? [],
    bridges: Object.fromEntries((options.network ?? []).map(({ name, bridge }) => [name, bridge])),
  });
  const volumes = createVolumes(identity);
  const runtimes = [
    ...composeRuntimes(identity, choice, images, logger),
    ...(options.sim ? [createSimRuntime({ records: openSimFolder(join(identity.runDir, 'sim')) })] : []),
  ];
  const ledger = openSqliteStore({
    ...{ path: join(identity.dataDir, 'ledger.db'), keepRevisions: 100, reserveBytes: STORE_RESERVE_BYTES },
  });
  const { imageSource } = options;
  const agent = createAgent({
    nodeName: options.nodeName ?? NODE_NAME,
    ...(imageSource && {
      bringImage: (digest: string, until: AbortSignal) => images.fetch(digest, imageSource(), until),
      collectImages: (keep: ReadonlySet<string>) => images.collect(keep),
    }),
    ledger,
    runtimes,
    network,
    volumes,
    images,
    machine: async () => ({ ...(await machineFacts(identity.dataDir)), version: VERSION }),
    logger: logger.child({ room: 'agent' }),
    duringStart: new CgroupEntry().hold,
    openEchoes: () => openEchoes(builtPath('echo')),
    tcpRoundTrips: (signal: AbortSignal) => tcpRoundTrips(identity.netnsPrefix, signal),
    ...(options.accessInterface && {
      access: {
        interfaces: options.accessInterface,
        watch: (interfaces: readonly string[], ear: NeighbourListener) =>
          watchNeighbours({ interfaces }, ear),
      },
    }),
    ...(options.devices && {
      devices: {
        identity,
        script: devicesScript(),
        listen: options.devices.filter((url) => url !== 'none'),
        ...outsideOf(options),
      },
    }),
    leases: createLeaseFiles(identity, () => builtPath('leaseGuard')),
    previousLogs: new PreviousLogs(identity.dataDir),
  });
  return { images, network, volumes, runtimes, ledger, agent };
}

/** Of a controller without guests of its own. */
export const composeImages = (identity: Identity): Promise<ImageStore> =>
  createImageStore({ dataDir: identity.dataDir });

export function composeController(
  identity: Identity,
  images: ImageStore,
  logger: Logger,
  nodeGraceMs?: number,
): { store: Store; controller: Controller } {
  const store = openSqliteStore({
    ...{ path: join(identity.dataDir, 'controller.db'), reserveBytes: STORE_RESERVE_BYTES },
  });
  const controller = createController({
    store,
    images,
    nodeName: NODE_NAME,
    dataDir: identity.dataDir,
    logger: logger.child({ room: 'controller' }),
    ...(nodeGraceMs === undefined ? {} : { nodeGraceMs }),
  });
  return { store, controller };
}
