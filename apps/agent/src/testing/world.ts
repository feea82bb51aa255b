/**
 * A machine in memory, for tests of the agent: guests, attachments, volumes and a ledger that outlive the agents that
 * come and go. It notes what must never happen (a guest started twice, an attachment taken from a guest that runs).
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ImageContent } from '@skerry/images';
import { type GuestExit, type Id, type ProbeFinding, SkerryError } from '@skerry/model';
import type {
  Attachment,
  AttachRequest,
  ClientPaths,
  NetworkService,
  NodeNetwork,
  OverlayPeer,
} from '@skerry/network';
import { type HeldLease, ManualClock } from '@skerry/reconcile';
import { type GuestEvent, type GuestSpec, type GuestState, planGuest, type Runtime } from '@skerry/runtimes';
import { createMemoryStore } from '@skerry/store';
import type { LeaseHost } from '../lease/port.ts';
import type { NodeVolumes } from '../ports.ts';
import type { Life } from './life.ts';

type Uid = Id<'instance'>;

export interface WorldGuest {
  readonly spec: GuestSpec;
  state: Exclude<GuestState, { state: 'absent' }>;
}

const SUBNET = '10.99.0';

export class World {
  readonly clock = new ManualClock();
  store = createMemoryStore();
  readonly guests = new Map<Uid, WorldGuest>();
  readonly attachments = new Map<Uid, AttachRequest>();
  readonly volumes = new Set<string>();
  readonly images = new Set<string>(['sha256:good']);
  readonly violations: string[] = [];
  readonly starts = new Map<Uid, number>();
  readonly stops = new Map<Uid, number>();
  /** Guests that ignore a stop and have to be forced. */
  readonly stubborn = new Set<Uid>();
  engineDown: string | undefined;
  /** What the network was told last. */
  peers: readonly OverlayPeer[] = [];
  services: readonly NetworkService[] = [];
  clientPaths: ClientPaths | undefined;
  routingDown: SkerryError | undefined;
  networkDown: string | undefined;
  /** Guests whose start does not end by itself. */
  readonly hanging = new Set<Uid>();
  /** Starts that hang at present, and the most there ever were. */
  hangingNow = 0;
  hangingMost = 0;
  /** A guest that ends at once for this reason. */
  crashing = new Map<Uid, GuestExit['reason']>();
  /** Of the run folder: gone with the power. */
  readonly leases = new Map<Uid, HeldLease>();
  #suspendedMs = 0;
  #boots = 0;
  #listeners = new Set<(event: GuestEvent) => void>();
  #engineEnds = new Set<(error: Error) => void>();
  #pid = 1000;

  running(uid: Uid): Extract<GuestState, { state: 'running' }> | undefined {
    const state = this.guests.get(uid)?.state;
    return state?.state === 'running' ? state : undefined;
  }

  /** The guest ends by itself. */
  exit(uid: Uid, reason: GuestExit['reason'], message = `ended: ${reason}`): void {
    const guest = this.guests.get(uid);
    if (guest?.state.state !== 'running') throw new Error(`${uid} does not run`);
    const exit: GuestExit = { reason, message, atMs: this.clock.nowMs() };
    guest.state = { state: 'exited', incarnation: guest.spec.incarnation, exit };
    for (const tell of this.#listeners) tell({ type: 'exited', uid, exit });
  }

  /** The machine loses its power: only what is on disk is left, which is the store and the volumes. */
  powerCut(): void {
    this.guests.clear();
    this.attachments.clear();
    this.leases.clear();
    this.#boots++;
  }

  /** Nothing happens on it for so long; only the clock since boot goes on. */
  suspend(ms: number): void {
    this.#suspendedMs += ms;
    for (const uid of this.leases.keys()) this.#endIfOver(uid);
  }

  leaseHost(life: Life): LeaseHost {
    const nowMs = () => this.clock.monotonicMs() + this.#suspendedMs;
    return {
      holder: `boot-${this.#boots}`,
      nowMs,
      load: () => new Map(this.leases),
      save: (uid, lease) => void (life.dead || this.leases.set(uid, lease)),
      remove: (uid) => void (life.dead || this.leases.delete(uid)),
      guard: async (uid) => (life.dead ? undefined : this.#endIfOver(uid)),
    };
  }

  /** What watches over a guest's lease is nobody's child. */
  #endIfOver(uid: Uid): void {
    if (!this.running(uid)) return;
    const leftMs = (this.leases.get(uid)?.untilMs ?? 0) - this.clock.monotonicMs() - this.#suspendedMs;
    if (leftMs <= 0) this.exit(uid, 'signal', 'ended by SIGKILL');
    else this.clock.after(leftMs, () => this.#endIfOver(uid));
  }

  breakEngine(message: string): void {
    this.engineDown = message;
    for (const end of this.#engineEnds) end(new SkerryError('engine_unavailable', message));
  }

  runtime(life: Life): Runtime {
    const verbs = life.wrap({
      start: () => this.#engine(),
      recover: (uid: Uid): GuestState => {
        this.#engine();
        return this.guests.get(uid)?.state ?? { state: 'absent' };
      },
      list: () => [...this.guests.keys()],
      apply: (step: Parameters<Runtime['apply']>[0]) => this.#apply(step),
    });
    return {
      kind: 'container',
      start: async () => verbs.start(),
      stop: async () => undefined,
      destroy: async () => undefined,
      probe: async () => [{ name: 'container', ok: true, level: 'ok', text: 'works' }],
      recover: async (uid) => verbs.recover(uid),
      list: async () => verbs.list(),
      plan: planGuest,
      apply: async (step, signal) => {
        if (signal.aborted) throw new SkerryError('cancelled', 'cancelled');
        if (step.do === 'start' && this.hanging.has(step.uid)) await this.#hang(signal);
        return verbs.apply(step);
      },
      events: (signal) => this.#events(life, signal),
      stats: async () => ({ cpuMs: 1, memoryBytes: 2 }),
      async *logs() {
        yield { atMs: 0, stream: 'stdout', text: 'hello' };
      },
      keepLog: async (uid, folder) => {
        const state = this.guests.get(uid)?.state;
        if (state?.state === 'exited')
          writeFileSync(join(folder, 'log'), `${state.exit.atMs} e ${state.exit.message}\n`);
      },
      overheadBytes: () => 1_000_000 as ReturnType<Runtime['overheadBytes']>,
    };
  }

  network(life: Life): NodeNetwork {
    /** Which slot each guest has, as this life of the agent knows it. */
    const slots = new Map<Uid, number>();
    const verbs = life.wrap({
      start: (keep: readonly AttachRequest[]) => {
        if (this.networkDown !== undefined) throw new SkerryError('host_command_failed', this.networkDown);
        const kept = new Set(keep.map(({ uid }) => uid));
        for (const uid of this.attachments.keys()) if (!kept.has(uid)) this.#detach(uid);
        slots.clear();
        for (const { slot, uid } of keep) slots.set(uid, slot);
      },
      attach: (request: AttachRequest): Attachment => {
        for (const [other, slot] of slots)
          if (other !== request.uid && slot === request.slot)
            throw new SkerryError('conflict', `the slot ${slot} belongs to ${other}`);
        slots.set(request.uid, request.slot);
        this.attachments.set(request.uid, request);
        const { uid, address, mac } = request;
        const more = { prefixLength: 24, gateway: `${SUBNET}.1`, dns: `${SUBNET}.1`, mtu: 1500 };
        return { ...more, uid, address, mac, kind: 'netns', netns: uid, path: `/netns/${uid}` };
      },
      detach: (uid: Uid) => {
        slots.delete(uid);
        this.#detach(uid);
      },
    });
    return {
      networks: [],
      subnet: `${SUBNET}.0/24`,
      subnet6: undefined,
      start: async (keep) => verbs.start(keep),
      attach: async (request) => verbs.attach(request),
      detach: async (uid) => verbs.detach(uid),
      setPeers: async (peers) => {
        if (this.routingDown) throw this.routingDown;
        this.peers = peers;
      },
      setClients: async (paths) => {
        this.clientPaths = paths;
      },
      setServices: async (services) => {
        if (this.routingDown) throw this.routingDown;
        this.services = services;
      },
      underlay: async () => '192.0.2.1',
      counters: async () => ({ rxBytes: 3, txBytes: 4 }),
      probe: async (): Promise<ProbeFinding[]> => [],
      stop: async () => undefined,
      destroy: async () => this.attachments.clear(),
    };
  }

  volumeStore(life: Life): NodeVolumes {
    return life.wrap<NodeVolumes>({
      ensure: async ({ uid }) => {
        this.volumes.add(uid);
        return `/volumes/${uid}`;
      },
      ensureDisk: async ({ uid }) => {
        this.volumes.add(uid);
        return `/volumes/${uid}.img`;
      },
      remove: async (uid) => void this.volumes.delete(uid),
    });
  }

  imageContent(): ImageContent {
    return {
      blobPath: (digest) => `/blobs/${digest}`,
      has: async (digest) => this.images.has(digest),
      facts: async (digest) => {
        if (!this.images.has(digest)) throw new SkerryError('image_not_found', `no image ${digest}`);
        return { kind: 'container', digest, sizeBytes: 1, source: 'import', facts: {} };
      },
    };
  }

  async #hang(signal: AbortSignal): Promise<void> {
    this.hangingMost = Math.max(this.hangingMost, ++this.hangingNow);
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    this.hangingNow--;
    throw new SkerryError('cancelled', 'the start was cancelled');
  }

  #engine(): void {
    if (this.engineDown !== undefined) throw new SkerryError('engine_unavailable', this.engineDown);
  }

  #apply(step: Parameters<Runtime['apply']>[0]): GuestState {
    this.#engine();
    if (step.do === 'create') return this.#create(step.spec);
    const { uid } = step;
    const guest = this.guests.get(uid);
    if (step.do === 'remove') {
      if (guest?.state.state === 'running') this.violations.push(`${uid} was removed while it ran`);
      this.guests.delete(uid);
      return { state: 'absent' };
    }
    if (!guest) throw new SkerryError('guest_start_failed', `there is no guest ${uid}`);
    if (step.do === 'start') return this.#start(uid, guest);
    if (guest.state.state !== 'running') return guest.state;
    this.stops.set(uid, (this.stops.get(uid) ?? 0) + 1);
    this.exit(uid, this.stubborn.has(uid) ? 'killed' : 'stopped');
    return guest.state;
  }

  #create(spec: GuestSpec): GuestState {
    if (this.guests.has(spec.uid)) this.violations.push(`${spec.uid} was made while it was there`);
    const state = { state: 'created', incarnation: spec.incarnation } as const;
    this.guests.set(spec.uid, { spec, state });
    return state;
  }

  #start(uid: Uid, guest: WorldGuest): GuestState {
    if (guest.state.state === 'running') this.violations.push(`${uid} was started while it ran`);
    if (guest.spec.network && !this.attachments.has(uid))
      this.violations.push(`${uid} started without its network`);
    this.starts.set(uid, (this.starts.get(uid) ?? 0) + 1);
    const startedAtMs = this.clock.nowMs();
    guest.state = { state: 'running', incarnation: guest.spec.incarnation, pid: this.#pid++, startedAtMs };
    const crash = this.crashing.get(uid);
    const { state } = guest;
    if (crash) queueMicrotask(() => this.running(uid) && this.exit(uid, crash));
    return state;
  }

  #detach(uid: Uid): void {
    if (this.running(uid)) this.violations.push(`${uid} lost its network while it ran`);
    this.attachments.delete(uid);
  }

  async *#events(life: Life, signal: AbortSignal): AsyncIterable<GuestEvent> {
    const events: GuestEvent[] = [];
    let wake = () => {};
    let failure: Error | undefined;
    const listen = (event: GuestEvent) => {
      events.push(event);
      wake();
    };
    const end = (error: Error) => {
      failure = error;
      wake();
    };
    this.#listeners.add(listen);
    this.#engineEnds.add(end);
    signal.addEventListener('abort', () => wake(), { once: true });
    try {
      while (!signal.aborted && !life.dead) {
        for (let event = events.shift(); event && !life.dead; event = events.shift()) yield event;
        if (failure) throw failure;
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (signal.aborted || events.length > 0) resolve();
        });
      }
    } finally {
      this.#listeners.delete(listen);
      this.#engineEnds.delete(end);
    }
  }
}
