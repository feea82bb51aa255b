/**
 * The controller: what users ask for becomes what nodes are to do. The graph of its parts is built here by hand.
 * It starts nothing on the host and runs no guest: it talks to agents only.
 */
import { mkdir, rm } from 'node:fs/promises';
import type { ControllerLink, NodeLink } from '@skerry/contract';
import type { ImageStore } from '@skerry/images';
import type { Instance, Project } from '@skerry/model';
import { LeaseGrantor } from '@skerry/reconcile';
import type { Store } from '@skerry/store';
import { accessRoutes } from './access/routes.ts';
import { createSightings } from './access/sightings.ts';
import { createLedger, type Ledger } from './admission/ledger.ts';
import { createCallers } from './auth/callers.ts';
import { type Clock, systemClock } from './clock.ts';
import { type Core, change, storedClaim } from './core.ts';
import { createDeviceAuthority } from './devices/authority.ts';
import { createDevicePresence } from './devices/presence.ts';
import { createDeviceReports } from './devices/reports.ts';
import { deviceRoutes } from './devices/routes.ts';
import { createShadows } from './devices/shadows.ts';
import { streamRoutes } from './devices/stream-routes.ts';
import { createEventLog } from './events/event-log.ts';
import { eventRoutes } from './events/routes.ts';
import { functionRoutes } from './functions/routes.ts';
import { createApplication } from './http/application.ts';
import type { Handlers } from './http/handlers.ts';
import { createDoors, type Listening, type ListenOptions } from './http/listeners.ts';
import { createUpgrade } from './http/upgrade.ts';
import { createCatalog } from './images/catalog.ts';
import { PULL, pullWorker } from './images/pull.ts';
import { imageRoutes, uploadFolder } from './images/routes.ts';
import { instanceRoutes } from './instances/routes.ts';
import type { Logger } from './logger.ts';
import { createMeasured } from './measurements/measured.ts';
import { createAbsences } from './nodes/absences.ts';
import { createNodeDoor } from './nodes/door.ts';
import { joinRoutes } from './nodes/join.ts';
import { forgetLeases } from './nodes/leases.ts';
import { createLink } from './nodes/link.ts';
import { createPresence, GRACE_MS } from './nodes/presence.ts';
import { nodeRoutes } from './nodes/routes.ts';
import { createSubnets } from './nodes/subnets.ts';
import { operationRoutes } from './operations/routes.ts';
import { createOperations } from './operations/runner.ts';
import { createPlacement } from './placement/place.ts';
import { createRebalancing } from './placement/rebalance.ts';
import { DEFAULT_PROJECT, putProject } from './projects/accept.ts';
import { projectRoutes } from './projects/routes.ts';
import { seriesRoutes } from './series/routes.ts';
import { createServiceAddresses } from './services/addresses.ts';
import { createServiceNetwork } from './services/network.ts';
import { keyOf, partsOf } from './state/keys.ts';
import { createLocks } from './state/locks.ts';
import { type Change, createView } from './state/view.ts';
import { systemRoutes } from './system/routes.ts';
import { createTurns } from './turns.ts';
import { volumeRoutes } from './volumes/routes.ts';
import { createReconciler } from './workloads/reconciler.ts';
import { workloadRoutes } from './workloads/routes.ts';

export interface ControllerOptions {
  readonly store: Store;
  readonly images: ImageStore;
  /** Name of the node that the controller itself runs on. */
  readonly nodeName: string;
  /** For uploads, certificates and the token. */
  readonly dataDir: string;
  readonly logger: Logger;
  readonly clock?: Clock;
  /** How long an agent may be away before its node is lost; default 30 s. */
  readonly nodeGraceMs?: number;
}

export interface Controller {
  /** For agents; usable after `start`. */
  readonly link: ControllerLink;
  /** How a node is asked for logs, exec and the like; undefined takes it back. */
  attachNode(name: string, link: NodeLink | undefined): void;
  /** Reads the store, goes on with operations, begins to reconcile. */
  start(): Promise<void>;
  /** Opens the doors; call it after `start`. Errors: port_taken, unavailable, data_folder_invalid. */
  listen(options: ListenOptions): Promise<Listening>;
  /** Closes the doors, lets go of all that runs; the store stays open. */
  stop(): Promise<void>;
}

export function createController(options: ControllerOptions): Controller {
  const { store, images, nodeName, dataDir, logger, clock = systemClock } = options;
  const view = createView(store, logger);
  // The ledger tells placement what is taken, and placement finds free addresses in the ledger.
  const ledger: Ledger = createLedger((key, claim) => placement.live.claimed(key, claim));
  const placement = createPlacement(view, ledger);
  const serviceAddresses = createServiceAddresses(view);
  const serviceNetwork = createServiceNetwork(view, placement.topology, clock);
  const events = createEventLog(store, clock, logger);
  const nodes = new Map<string, NodeLink>();
  const core: Core = {
    store,
    view,
    ledger,
    placement,
    subnets: createSubnets(view),
    serviceAddresses,
    serviceNetwork,
    measured: createMeasured(view, placement.topology, clock, (event) => events.emit(event)),
    locks: createLocks(),
    turns: createTurns(),
    events,
    images,
    clock,
    logger,
    dataDir,
    nodeName,
    nodes,
    absences: createAbsences(clock),
    leases: new LeaseGrantor(() => clock.monotonicMs()),
    nodeGraceMs: options.nodeGraceMs ?? GRACE_MS,
  };
  view.onChange((one) => keepLedger(core, one));

  forgetLeases(core);
  const presence = createPresence(core);
  const sightings = createSightings(core);
  const devices = createDevicePresence(core);
  const shadows = createShadows(core);
  const deviceAuthority = createDeviceAuthority(dataDir, () => clock.nowMs());
  const deviceReports = createDeviceReports(core, devices, shadows);
  const link = createLink(core, { presence, sightings, deviceAuthority, deviceReports });
  const reconciler = createReconciler(core);
  const rebalancing = createRebalancing(core);
  const catalog = createCatalog(core);
  const operations = createOperations(core, { [PULL]: pullWorker(core, catalog) });

  const handlers: Handlers = {
    ...systemRoutes(core, operations),
    ...projectRoutes(core),
    ...workloadRoutes(core),
    ...instanceRoutes(core),
    ...imageRoutes(core, catalog, operations),
    ...volumeRoutes(core),
    ...functionRoutes(core, catalog),
    ...accessRoutes(core),
    ...deviceRoutes(core, { presence: devices, shadows, authority: deviceAuthority }),
    ...streamRoutes(core, devices),
    'latency.list': async () => ({ body: { items: core.measured.list() } }),
    'rebalance.plan': async () => ({ body: rebalancing.plan() }),
    'rebalance.apply': async () => ({ body: await rebalancing.apply() }),
    ...nodeRoutes(core),
    ...joinRoutes(core, () => doors.entrance),
    ...operationRoutes(core, operations),
    ...eventRoutes(core),
    ...seriesRoutes(core),
  };
  const callers = createCallers(clock);
  const app = createApplication(handlers, callers, core.turns, logger);
  const sockets = createUpgrade(handlers, callers, logger);
  const attachNode = (name: string, nodeLink: NodeLink | undefined) => {
    if (nodeLink) nodes.set(name, nodeLink);
    else nodes.delete(name);
  };
  const nodeDoor = createNodeDoor({ core, link, entrance: () => doors.entrance, attach: attachNode });
  const doors = createDoors(
    dataDir,
    clock,
    callers,
    (request, response) => app.routing(request, response),
    sockets.upgrade,
    nodeDoor,
  );

  return {
    link,
    attachNode,
    async start() {
      await mkdir(dataDir, { recursive: true, mode: 0o700 });
      // Uploads that a crash left behind.
      await rm(uploadFolder(dataDir), { recursive: true, force: true });
      await view.start();
      await events.start();
      await ensureDefaultProject(core);
      presence.start();
      reconciler.start();
      rebalancing.start();
      operations.start();
      await app.ready();
    },
    listen: (listenOptions) => doors.open(listenOptions),
    async stop() {
      sockets.close();
      await doors.close();
      presence.stop();
      sightings.stop();
      await shadows.stop();
      serviceNetwork.stop();
      rebalancing.stop();
      await operations.stop();
      await reconciler.stop();
      // What was accepted is finished, its events with it.
      await core.locks.idle();
      await events.stop();
      await app.close();
      await view.stop();
    },
  };
}

async function ensureDefaultProject(core: Core): Promise<void> {
  if (core.view.get('projects', DEFAULT_PROJECT)) return;
  await change<{ resource: Project }>(core, [keyOf('projects', DEFAULT_PROJECT)], false, (draft, world) =>
    putProject(draft, world, {
      apiVersion: 'skerry/v1',
      kind: 'Project',
      metadata: { name: DEFAULT_PROJECT },
      spec: {},
    }),
  );
}

/** What is taken follows what is stored. */
function keepLedger(core: Core, { collection, key, before, after }: Change): void {
  const again = (instance: Instance) => {
    const instanceKey = keyOf('instances', instance.metadata.project!, instance.metadata.name);
    core.ledger.set(instanceKey, storedClaim(core, instanceKey));
  };
  if (collection === 'instances' || collection === 'volumes') core.ledger.set(key, storedClaim(core, key));
  else if (collection === 'workloads') {
    const { name, project } = ((after ?? before) as Project).metadata;
    for (const instance of core.view.instancesOf(project!, name)) again(instance);
  } else if (collection === 'node-overheads') {
    for (const instance of core.view.instancesOn(partsOf(key).name)) again(instance);
  }
}
