/**
 * The agent of a node, put together by hand: ledger, network, engines, guests, session. It starts without a controller,
 * takes over what runs, starts what is missing, removes what nobody knows, and only then dials out.
 *
 *   start: ledger -> network -> engines (side by side) -> recover -> orphans -> session      stop: all let go, guests stay
 */
import { setMaxListeners } from 'node:events';
import type { ControllerLink, DesiredState, NodeLink } from '@skerry/contract';
import { asSkerryError, type Id, type InstanceStatus, type Millis, newId, SkerryError } from '@skerry/model';
import { type Clock, Gate, pause, RESTART_BACKOFF, realClock } from '@skerry/reconcile';
import type { GuestEvent, Runtime } from '@skerry/runtimes';
import { createDeviceService } from './devices/compose.ts';
import { endpointsOf } from './devices/endpoints.ts';
import type { DeviceService } from './devices/service.ts';
import { Engine } from './engines/engine.ts';
import { NetworkService } from './engines/network-service.ts';
import { HandoverNotices } from './handover/notices.ts';
import { postToGuest } from './handover/post.ts';
import { probeGuest } from './health/probe.ts';
import { Leases } from './lease/leases.ts';
import { createLeaseMemory } from './lease/memory.ts';
import { DesiredLedger } from './ledger/desired-ledger.ts';
import { RecordLedger } from './ledger/record-ledger.ts';
import { createNodeLink } from './link/node-link.ts';
import { Session } from './link/session.ts';
import { ClientWatch } from './measure/client-watch.ts';
import { Measuring } from './measure/measuring.ts';
import { NetworkRouter } from './network/router.ts';
import type { AgentOptions, Tuning } from './ports.ts';
import { nodeReport, probeNode } from './report/node-report.ts';
import { Reporter } from './report/reporter.ts';
import { statusOf } from './report/status.ts';
import { DesiredSync } from './sync/desired-sync.ts';
import { GuestTable } from './sync/guest-table.ts';
import { ImageKeeper } from './sync/image-keeper.ts';
import { removeOrphans } from './sync/orphans.ts';
import { VolumeTable } from './sync/volume-table.ts';

export interface LocalInstance {
  readonly uid: Id<'instance'>;
  readonly name: string;
  readonly project: string;
  readonly status: InstanceStatus;
}

export interface Agent {
  /** What the controller asks on demand. Works between `start` and `stop`. */
  readonly node: NodeLink;
  /** Resolves when every engine has been tried and the guests are being recovered. Errors: store_*, cancelled. */
  start(signal: AbortSignal): Promise<void>;
  /** Gives the agent its controller, also after `start`; one only. */
  connect(controller: ControllerLink): void;
  /** The newest state that it was told, by its ledger. */
  desired(): DesiredState | undefined;
  /** What the node knows of its instances, with or without a controller. */
  instances(): LocalInstance[];
  /** Resolves when every instance is as it is to be, or waits for something that is not here. */
  atRest(): Promise<void>;
  /** What `reachable` answers may be another now. */
  reachabilityChanged(): void;
  /** Lets go of everything; guests go on. */
  stop(): Promise<void>;
  /** Ends all guests and removes everything from the host and the ledger; the agent has stopped then. Errors: unavailable (names what is left). */
  retire(options: { readonly graceMs?: Millis; readonly signal: AbortSignal }): Promise<void>;
}

const DEFAULT_TUNING: Tuning = {
  concurrentStarts: 8,
  concurrentStops: 32,
  restartBackoff: RESTART_BACKOFF,
  suspectBoots: 5,
  holdMs: 15_000,
  random: Math.random,
  healthProbe: probeGuest,
};

/** An engine that takes longer for its first try does not keep the others and the session waiting. */
const FIRST_TRY_LIMIT_MS = 10_000;
/** How long `stop` waits for work that does not heed its cancellation. */
const STOP_LIMIT_MS = 5000;

export function createAgent(options: AgentOptions): Agent {
  return new NodeAgent(options);
}

class NodeAgent implements Agent {
  readonly node: NodeLink;
  readonly #options: AgentOptions;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #ending = new AbortController();
  readonly #records: RecordLedger;
  readonly #desired: DesiredLedger;
  readonly #engines: readonly Engine[];
  readonly #networkService: NetworkService;
  readonly #volumes: VolumeTable;
  readonly #guests: GuestTable;
  readonly #leases: Leases;
  readonly #images: ImageKeeper | undefined;
  readonly #reporter: Reporter;
  readonly #sync: DesiredSync;
  readonly #router: NetworkRouter;
  readonly #notices: HandoverNotices;
  readonly #measuring: Measuring | undefined;
  readonly #clientWatch: ClientWatch | undefined;
  readonly #devices: DeviceService | undefined;
  #controller: ControllerLink | undefined;
  #session: Session | undefined;
  #sessionEnd = new AbortController();
  readonly #background = new Set<Promise<unknown>>();
  #state: 'new' | 'started' | 'dialling' | 'stopped' = 'new';

  constructor(options: AgentOptions) {
    const { ledger, network, images, logger, nodeName } = options;
    const tuning: Tuning = { ...DEFAULT_TUNING, ...options.tuning };
    const ending = this.#ending.signal;
    setMaxListeners(0, ending, this.#sessionEnd.signal); // each guest's work listens
    this.#options = options;
    this.#clock = options.clock ?? realClock;
    this.#random = tuning.random;
    this.#controller = options.controller;
    const shared = { clock: this.#clock, logger, random: this.#random };
    this.#records = new RecordLedger(ledger, this.#clock, logger);
    this.#desired = new DesiredLedger(ledger);
    this.#reporter = new Reporter({
      node: nodeName,
      clock: this.#clock,
      generation: () => this.#sync.state.generation,
      present: (uid) => this.#present(uid),
      acknowledged: (uid, events) => this.#guests.get(uid)?.acknowledge(events),
    });
    this.#engines = options.runtimes.map(
      (runtime) =>
        new Engine({
          ...shared,
          runtime,
          onEvent: (event) => this.#guestEvent(runtime, event),
          onChange: (engine) => this.#engineChanged(engine),
        }),
    );
    this.#networkService = new NetworkService({
      ...shared,
      network,
      keep: () => this.#sync.keep(),
      onChange: () => {
        this.#guests.tellAll({ type: 'wake' });
        this.#router.restarted();
        this.#session?.nodeChanged();
      },
    });
    this.#volumes = new VolumeTable({
      volumes: options.volumes,
      clock: this.#clock,
      ending,
      report: (report) => this.#reporter.volume(report),
    });
    this.#leases = new Leases({
      node: nodeName,
      host: options.leases ?? createLeaseMemory(newId(), () => this.#clock.monotonicMs()),
      ...{ clock: this.#clock, logger, ending },
      changed: (uid) => this.#guests.leaseChanged(uid),
    });
    this.#guests = new GuestTable({
      ...shared,
      engine: (kind) => this.#engines.find((engine) => engine.runtime.kind === kind),
      networkService: this.#networkService,
      parts: {
        network,
        images,
        ...(options.bringImage ? { bringImage: options.bringImage } : {}),
        volumePath: (project, name, form) => this.#volumes.path(project, name, form),
      },
      records: this.#records,
      leases: this.#leases,
      ...(options.previousLogs && { previousLogs: options.previousLogs }),
      starts: new Gate(tuning.concurrentStarts),
      stops: new Gate(tuning.concurrentStops),
      duringStart: options.duringStart ?? (() => () => undefined),
      backoff: tuning.restartBackoff,
      healthProbe: tuning.healthProbe,
      ending,
      reportPresent: (uid, passing) => {
        this.#reporter.present(uid, passing);
        this.#router.changed();
        this.#devices?.changed();
        this.#notices.changed();
      },
      reportAbsent: (uid) => {
        this.#reporter.absent(uid);
        this.#router.changed();
        this.#devices?.changed();
      },
    });
    this.#router = new NetworkRouter({
      ...{ network, clock: this.#clock, logger, ending },
      onTrouble: () => this.#session?.nodeChanged(),
      up: () => this.#networkService.trouble === undefined,
      desired: () => this.#sync.state.network,
      knowledge: () => ({
        node: nodeName,
        instances: this.#sync.state.instances,
        ipv6: network.subnet6 !== undefined,
        status: (uid) => this.#guests.get(uid)?.record,
        reachable: (other) =>
          (options.reachable?.(other) ?? true) && (this.#measuring?.reachable(other) ?? true),
        oneWayUs: (other) => this.#measuring?.oneWayUs(other),
      }),
    });
    this.#notices = new HandoverNotices({
      instances: () => this.#sync.state.instances,
      isRunning: (uid) => {
        const record = this.#guests.get(uid)?.record;
        return record?.phase === 'running' && record.health !== 'unhealthy';
      },
      ...{ post: options.postToGuest ?? postToGuest, clock: this.#clock, logger, ending },
    });
    const { openEchoes, tcpRoundTrips } = options;
    this.#measuring =
      openEchoes &&
      new Measuring({
        ...{ node: nodeName, open: openEchoes, ...shared, ...(tcpRoundTrips && { tcp: tcpRoundTrips }) },
        onChange: () => this.#router.changed(),
        tell: async (measurements) => this.#controller?.measure(nodeName, measurements),
      });
    const { access } = options;
    this.#clientWatch =
      access &&
      new ClientWatch({
        ...{ ...access, ...shared },
        tell: async (sightings) => this.#told().sighted(nodeName, sightings),
      });
    this.#devices =
      options.devices &&
      createDeviceService(options.devices, {
        ...{ node: nodeName, ...shared },
        endpoints: () =>
          endpointsOf({
            node: nodeName,
            instances: this.#sync.state.instances,
            services: this.#sync.state.network?.services ?? [],
            status: (uid) => this.#guests.get(uid)?.record,
          }),
        onTrouble: () => this.#session?.nodeChanged(),
      });
    const { collectImages } = options;
    this.#images =
      collectImages &&
      new ImageKeeper({
        ...{ clock: this.#clock, logger, collect: collectImages },
        isUnsure: () => this.#guests.all().some(({ uid }) => !this.#sync.knows(uid)),
      });
    this.#sync = new DesiredSync({
      ...(this.#images && { images: this.#images }),
      ...{
        ledger: this.#desired,
        guests: this.#guests,
        leases: this.#leases,
        volumes: this.#volumes,
        reporter: this.#reporter,
      },
      ...{ clock: this.#clock, logger, tuning, ending },
      applied: () => {
        this.#router.changed();
        this.#devices?.changed();
        this.#measuring?.wish(this.#sync.state.network);
        this.#clientWatch?.settled(this.#sync.state.network?.clients ?? []);
        this.#notices.wish(this.#sync.state.network?.handovers ?? []);
      },
    });
    this.node = createNodeLink({
      runtimeOf: (uid) => this.#guests.get(uid)?.runtime,
      look: (uid) => this.#guests.tell(uid, { type: 'look' }),
      ...(options.previousLogs && { previousLogs: options.previousLogs }),
      network,
      probe: (signal) => probeNode(this.#nodeParts(), signal),
      ...(this.#devices && { hub: this.#devices.call }),
    });
  }

  async start(signal: AbortSignal): Promise<void> {
    if (this.#state !== 'new') throw new SkerryError('internal', 'an agent is started once');
    this.#state = 'started';
    const ending = this.#ending.signal;
    const onAbort = () => this.#ending.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      signal.throwIfAborted();
      await this.#desired.load();
      this.#guests.load(await this.#records.load());
      this.#options.previousLogs?.retain((uid) => this.#guests.get(uid) !== undefined);
      for (const actor of this.#guests.all()) this.#reporter.present(actor.uid);
      this.#inBackground(this.#networkService.run(ending));
      await this.#networkService.firstTry;
      await this.#sync.begin();
      for (const engine of this.#engines) this.#inBackground(engine.run(ending));
      const limit = new AbortController();
      const tried = Promise.all(this.#engines.map((engine) => engine.firstTry));
      const tooLong = pause(this.#clock, FIRST_TRY_LIMIT_MS, limit.signal).catch(() => undefined);
      await Promise.race([tried, tooLong]);
      limit.abort();
      void tried.then(() => this.#sync.ready());
      signal.throwIfAborted();
    } catch (thrown) {
      await this.stop();
      throw signal.aborted ? new SkerryError('cancelled', 'the start of the agent was cancelled') : thrown;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
    this.#clientWatch?.start();
    if (this.#devices) this.#inBackground(this.#devices.run(ending));
    this.#state = 'dialling';
    this.#dial();
  }

  connect(controller: ControllerLink): void {
    if (this.#controller) throw new SkerryError('internal', 'the agent has its controller');
    this.#controller = controller;
    if (this.#state === 'dialling') this.#dial();
  }

  desired(): DesiredState | undefined {
    return this.#desired.current;
  }

  instances(): LocalInstance[] {
    return this.#guests.all().map(({ record, address }) => {
      const { uid, name, project } = record;
      return { uid, name, project, status: statusOf(record, address) };
    });
  }

  async atRest(): Promise<void> {
    await this.#volumes.idle();
    await this.#guests.idle();
    await this.#router.idle();
  }

  reachabilityChanged(): void {
    this.#router.changed();
  }

  async stop(): Promise<void> {
    if (this.#state === 'stopped') return;
    this.#state = 'stopped';
    this.#sessionEnd.abort();
    this.#sync.close();
    this.#router.close();
    this.#measuring?.close();
    this.#clientWatch?.close();
    this.#devices?.close();
    this.#notices.close();
    this.#leases.close();
    this.#images?.close();
    this.#ending.abort();
    const limit = new AbortController();
    const tooLong = pause(this.#clock, STOP_LIMIT_MS, limit.signal).catch(() => undefined);
    const atWork = [this.#guests.close(), this.#volumes.close(), this.#router.idle(), ...this.#background];
    await Promise.race([Promise.allSettled(atWork), tooLong]);
    limit.abort();
    await this.#try('write the ledger', () => this.#records.flush());
    this.#records.close();
    for (const { runtime } of this.#engines)
      await this.#try(`let go of ${runtime.kind}`, () => runtime.stop());
    await this.#try('let go of the network', () => this.#options.network.stop());
  }

  async retire(options: { readonly graceMs?: Millis; readonly signal: AbortSignal }): Promise<void> {
    const { signal } = options;
    this.#sessionEnd.abort();
    await this.#guests.clear(options.graceMs ?? (2000 as Millis), signal);
    const left = this.#guests.all().map(({ record }) => `${record.name} (${record.reason ?? record.phase})`);
    if (left.length > 0) {
      throw new SkerryError('unavailable', `these guests could not be removed: ${left.join(', ')}`);
    }
    for (const engine of this.#engines) {
      if (engine.up) await removeOrphans(engine.runtime, () => false, this.#options.logger, signal);
    }
    const volumes = this.#volumes.all();
    await this.stop();
    for (const volume of volumes) await this.#options.volumes.remove(volume.uid, signal);
    for (const { runtime } of this.#engines) await runtime.destroy(signal);
    await this.#options.network.destroy(signal);
    await this.#options.ledger.txn([], [{ deletePrefix: '/ledger/' }]);
  }

  #dial(): void {
    const link = this.#controller;
    const signal = this.#sessionEnd.signal;
    if (!link || signal.aborted) return;
    this.#session = new Session({
      link,
      node: this.#options.nodeName,
      report: (until) => nodeReport(this.#nodeParts(), until),
      reporter: this.#reporter,
      leases: this.#leases,
      ...(this.#devices && { devices: this.#devices }),
      accept: (state) => this.#sync.accept(state),
      begun: () => {
        this.#guests.tryAgain();
        this.#measuring?.begun();
        this.#clientWatch?.begun();
      },
      ...{ clock: this.#clock, logger: this.#options.logger, random: this.#random },
    });
    this.#inBackground(this.#session.run(signal));
  }

  /** Errors: unavailable. */
  #told(): ControllerLink {
    if (this.#controller) return this.#controller;
    throw new SkerryError('unavailable', 'the agent has no controller yet');
  }

  #nodeParts() {
    const { nodeName, machine, network } = this.#options;
    const networkTrouble = () => this.#networkService.trouble;
    const routingTrouble = () => this.#router.trouble;
    const deviceTrouble = () => this.#devices?.trouble;
    const engines = this.#engines;
    return { nodeName, machine, network, networkTrouble, routingTrouble, deviceTrouble, engines };
  }

  #present(uid: Id<'instance'>) {
    const actor = this.#guests.get(uid);
    if (!actor || actor.gone) return undefined;
    const { record, address } = actor;
    return { uid, state: 'present' as const, status: statusOf(record, address), events: record.events };
  }

  #guestEvent(runtime: Runtime, event: GuestEvent): void {
    if (event.type === 'resync') this.#guests.tellKind(runtime.kind, { type: 'look' });
    else if (event.type === 'look') this.#guests.tell(event.uid, { type: 'look' });
    else if (event.type === 'oom') this.#guests.tell(event.uid, { type: 'oom', message: event.message });
    else if (event.type === 'exited') this.#guests.tell(event.uid, { type: 'exited', exit: event.exit });
    else this.#guests.tell(event.uid, { type: event.type, message: event.message });
  }

  /** Up: look at every guest of it, then at what nobody knows. Down: its instances show why. */
  #engineChanged(engine: Engine): void {
    this.#guests.tellKind(engine.runtime.kind, { type: engine.up ? 'look' : 'wake' });
    this.#session?.nodeChanged();
    if (!engine.up) return;
    const known = (uid: Id<'instance'>) => this.#guests.get(uid) !== undefined || this.#sync.knows(uid);
    const { logger } = this.#options;
    const work = removeOrphans(engine.runtime, known, logger, this.#ending.signal).catch((thrown) => {
      if (!this.#ending.signal.aborted)
        logger.warn({ err: asSkerryError(thrown) }, 'orphans could not be looked for');
    });
    this.#inBackground(work);
  }

  #inBackground(work: Promise<unknown>): void {
    this.#background.add(work);
    void work.finally(() => this.#background.delete(work));
  }

  /** On the way out one failure must not keep the rest from being let go. */
  async #try(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (thrown) {
      this.#options.logger.warn({ err: asSkerryError(thrown) }, `could not ${what}`);
    }
  }
}
