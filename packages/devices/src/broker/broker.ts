/**
 * The broker of a node: MQTT 3.1.1 and 5 over TCP, TLS and WebSocket. Projects never see each other's topics. A message of QoS 1
 * or 2 is acknowledged when it is durable: with whoever takes messages (`hooks.ingest`), and in the sessions that wait for it.
 *
 *     connection -> hooks.ingest -> router -> sessions -> connections
 */
import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { Message } from '../message.ts';
import type { Broker, BrokerHooks, BrokerListen, DeviceIdentity, SessionState } from '../ports.ts';
import { type Connect, type Publish, type Qos, REASON, type Will } from './codec/packets.ts';
import { Connection, type ConnectionAbout } from './connection.ts';
import type { BrokerCore } from './core.ts';
import { noCounts } from './counts.ts';
import { BROKER_LIMITS, type BrokerLimits } from './limits.ts';
import { type Listener, listen, type TlsFiles } from './listeners.ts';
import { BrokerMemory } from './memory.ts';
import { Router } from './router.ts';
import { type Delivery, Session, type Subscription, sessionKey } from './session.ts';
import { SystemTopics } from './system-topics.ts';
import { matches } from './topics.ts';

/** As long as a device waits for its session from another node. */
const FETCH_MS = 5000;
const NEVER_SECONDS = 0xffffffff;

export interface BrokerOptions {
  /** Its own; sessions and retained messages lie there. */
  readonly folder: string;
  readonly listen: readonly BrokerListen[];
  readonly hooks: BrokerHooks;
  /** Of the listeners that need it. */
  readonly tls?: TlsFiles;
  readonly limits?: Partial<BrokerLimits>;
}

export async function createBroker(options: BrokerOptions): Promise<Broker> {
  const broker = new NodeBroker(options, await BrokerMemory.open(options.folder));
  return {
    start: () => broker.start(),
    publish: (project, message) => broker.publishMessage(project, message),
    disconnect: (identity, reason) => broker.disconnect(identity, reason),
    exportSession: (identity, clientId) => broker.exportSession(identity, clientId),
    attach: (stream, about) => broker.attach(stream, about),
    counts: () => ({ ...broker.counts }),
    stop: () => broker.stop(),
  };
}

class NodeBroker implements BrokerCore {
  readonly #options: BrokerOptions;
  readonly hooks: BrokerHooks;
  readonly limits: BrokerLimits;
  readonly counts = noCounts();
  readonly memory: BrokerMemory;
  readonly router: Router;
  readonly #system: SystemTopics;
  readonly #connections = new Set<Connection>();
  readonly #listeners: Listener[] = [];
  /** Of a device that is connected, what it may make its session hold. */
  readonly #queued = new Map<string, number>();
  /** Ids of messages: of this run, then counted. */
  readonly #run = `${Date.now().toString(36)}${randomBytes(3).toString('hex')}`;
  #number = 0;
  readonly #delayedWills = new Map<string, NodeJS.Timeout>();
  #sweep: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: BrokerOptions, memory: BrokerMemory) {
    this.#options = options;
    this.hooks = options.hooks;
    this.limits = { ...BROKER_LIMITS, ...options.limits };
    this.memory = memory;
    this.router = new Router(memory, this.limits, this.counts, (session) => ({
      messages: this.#queued.get(session.key) ?? this.limits.queuedMessages,
      bytes: this.limits.queuedBytes,
    }));
    this.#system = new SystemTopics(
      (project, delivery) => this.router.route(project, delivery),
      () => ({
        ...this.counts,
        connected: this.#connections.size,
      }),
    );
  }

  async start(): Promise<readonly BrokerListen[]> {
    const began = Date.now();
    for (const session of this.memory.sessions.values()) {
      // Its end was not seen: it is away since the former run.
      session.expiresAtMs ??= began + session.expirySeconds * 1000;
    }
    for (const [key, will] of this.memory.wills) this.#publishWill(key, will);
    this.#planSweep();
    for (const one of this.#options.listen) {
      const take = (stream: Duplex, about: ConnectionAbout) => this.attach(stream, about);
      this.#listeners.push(await listen(one, this.#options.tls, take));
    }
    return this.#listeners.map(({ at }) => at);
  }

  attach(stream: Duplex, about: ConnectionAbout): void {
    if (this.#stopped || this.#connections.size >= this.limits.connections) {
      this.counts.refusedConnections++;
      stream.destroy();
      return;
    }
    this.counts.connections++;
    this.#connections.add(new Connection(this, stream, about));
  }

  drawClientId = (): string => `auto-${randomBytes(9).toString('hex')}`;
  #drawId = (): string => `${this.#run}-${(this.#number++).toString(36)}`;

  // Sessions ------------------------------------------------------------------------------------------------------------

  async openSession(identity: DeviceIdentity, clientId: string, connect: Connect) {
    const key = sessionKey(identity, clientId);
    this.memory.sessions.get(key)?.line?.close(REASON.takenOver);
    const known = this.memory.sessions.get(key);
    const expired = known?.expiresAtMs !== undefined && known.expiresAtMs <= Date.now();
    if (known && (connect.cleanStart || expired)) this.#forget(known);
    let session = this.memory.sessions.get(key);
    let present = session !== undefined;
    if (!session) {
      const fetched = connect.cleanStart ? undefined : await this.#fetch(identity, clientId);
      session = new Session(identity, clientId);
      session.expirySeconds = this.#expiryOf(connect);
      if (fetched) {
        this.memory.adopt(session, fetched);
        for (const [filter, subscription] of session.subscriptions)
          this.router.add(session, filter, subscription);
        present = true;
      }
    }
    session.expirySeconds = this.#expiryOf(connect);
    session.expiresAtMs = undefined;
    this.memory.keep(session);
    if (session.persistent) await this.memory.sync();
    return { session, present };
  }

  #expiryOf({ version, cleanStart, properties }: Connect): number {
    // Before 5 a session that is not clean has no end: it is kept as long as any.
    const asked = version === 5 ? (properties.sessionExpiry ?? 0) : cleanStart ? 0 : NEVER_SECONDS;
    return Math.min(asked, this.limits.sessionSeconds);
  }

  async #fetch(identity: DeviceIdentity, clientId: string): Promise<SessionState | undefined> {
    const { fetchSession } = this.hooks;
    if (!fetchSession) return undefined;
    return fetchSession
      .call(this.hooks, identity, clientId, AbortSignal.timeout(FETCH_MS))
      .catch(() => undefined);
  }

  attached(session: Session, connection: Connection, will: Will | undefined): void {
    session.line?.close(REASON.takenOver); // two at the same moment: the later one stays
    session.line = connection;
    clearTimeout(this.#delayedWills.get(session.key));
    this.#delayedWills.delete(session.key);
    this.memory.setWill(session.key, will);
  }

  ended(connection: Connection, session: Session | undefined, publishWill: boolean, seenAtMs: number): void {
    this.#connections.delete(connection);
    if (!session) return;
    this.hooks.disconnected(session.identity, session.clientId, seenAtMs);
    if (session.line !== connection) return; // another one has it
    session.line = undefined;
    const will = this.memory.wills.get(session.key);
    // A broker that stops leaves wills to its next run: devices come back to it.
    if (will && publishWill && !this.#stopped) {
      const delaySeconds = Math.min(will.properties.willDelay ?? 0, session.expirySeconds);
      if (delaySeconds === 0) this.#publishWill(session.key, will);
      else this.#delayWill(session.key, will, delaySeconds);
    } else if (!this.#stopped) this.memory.setWill(session.key, undefined);
    if (!session.persistent) this.#forget(session);
    else {
      session.expiresAtMs = Date.now() + session.expirySeconds * 1000;
      this.memory.keep(session);
      this.#planSweep();
    }
  }

  #delayWill(key: string, will: Will, seconds: number): void {
    const timer = setTimeout(() => {
      this.#delayedWills.delete(key);
      this.#publishWill(key, will);
    }, seconds * 1000);
    this.#delayedWills.set(key, timer.unref());
  }
  #publishWill(key: string, will: Will): void {
    this.memory.setWill(key, undefined);
    const [project = '', device = ''] = key.split('/');
    const { payloadFormat, messageExpiry, contentType, responseTopic, correlationData, user } =
      will.properties;
    const kept = { payloadFormat, messageExpiry, contentType, responseTopic, correlationData, user };
    const properties = Object.fromEntries(Object.entries(kept).filter(([, value]) => value !== undefined));
    const packet: Publish = { ...will, type: 'publish', dup: false, id: 0, properties };
    this.#publishFrom({ project, device }, packet, undefined)?.catch(() => undefined);
  }

  #forget(session: Session): void {
    this.router.removeAll(session);
    this.memory.forget(session);
    this.#queued.delete(session.key);
  }

  /** Sessions whose time is over. One timer, for the next one. */
  #planSweep(): void {
    clearTimeout(this.#sweep);
    if (this.#stopped) return;
    let next = Number.POSITIVE_INFINITY;
    for (const { expiresAtMs, line } of this.memory.sessions.values())
      if (!line && expiresAtMs !== undefined) next = Math.min(next, expiresAtMs);
    if (next === Number.POSITIVE_INFINITY) return;
    const waitMs = Math.min(Math.max(next - Date.now(), 1000), 3_600_000);
    this.#sweep = setTimeout(() => {
      for (const session of [...this.memory.sessions.values()])
        if (!session.line && session.expiresAtMs !== undefined && session.expiresAtMs <= Date.now())
          this.#forget(session);
      this.#planSweep();
    }, waitMs).unref();
  }

  setExpiry(session: Session, seconds: number): void {
    // From 0 there is no way to a session that stays (MQTT 5.0, section 3.14.2.2.2).
    if (session.persistent) session.expirySeconds = Math.min(seconds, this.limits.sessionSeconds);
  }

  // Messages ------------------------------------------------------------------------------------------------------------

  publish(session: Session, packet: Publish): Promise<void> | undefined {
    return this.#publishFrom(session.identity, packet, session);
  }
  ingest({ identity }: Session, packet: Publish): Promise<void> | undefined {
    return this.hooks.ingest(this.#message(identity, packet));
  }
  #message({ project, device }: DeviceIdentity, packet: Publish): Message {
    const { topic, qos, retain, payload, properties } = packet;
    return {
      ...{ id: this.#drawId(), project, device, topic, receivedAtMs: Date.now(), qos, retain, payload },
      ...(properties?.contentType !== undefined && { contentType: properties.contentType }),
    };
  }

  #publishFrom(
    identity: DeviceIdentity,
    packet: Publish,
    from: Session | undefined,
  ): Promise<void> | undefined {
    const taken = this.hooks.ingest(this.#message(identity, packet));
    const spread = () => this.#spread(identity.project, packet, from);
    // Who publishes again what was not taken must not be heard twice by others: first taken, then spread.
    return taken ? taken.then(spread) : spread();
  }

  #spread(project: string, packet: Publish, from?: Session): Promise<void> | undefined {
    const { topic, payload, qos, retain, properties } = packet;
    const expiry = properties?.messageExpiry;
    const { topicAlias: _, ...rest } = properties ?? {};
    const delivery: Delivery = {
      ...{ topic, payload, qos, retain },
      ...(properties && { properties: rest }),
      ...(expiry !== undefined && { expiresAtMs: Date.now() + expiry * 1000 }),
    };
    if (retain) this.#retain(project, delivery);
    const given = this.router.route(project, delivery, from);
    return (given || retain) && qos > 0 ? this.memory.sync() : undefined;
  }

  #retain(project: string, delivery: Delivery): void {
    const topics = this.memory.retained.get(project);
    const before = topics?.get(delivery.topic);
    const bytes = (this.memory.retainedBytes.get(project) ?? 0) - (before?.payload.length ?? 0);
    const tooMany = !before && (topics?.size ?? 0) >= this.limits.retainedMessages;
    if (
      delivery.payload.length > 0 &&
      (tooMany || bytes + delivery.payload.length > this.limits.retainedBytes)
    )
      this.counts.retainedRefused++;
    else if (before || delivery.payload.length > 0) this.memory.retain(project, delivery);
  }

  giveRetained(session: Session, filter: string, subscription: Subscription): void {
    this.#system.asked(session.identity.project, filter);
    for (const retained of this.memory.retained.get(session.identity.project)?.values() ?? []) {
      if (!matches(filter, retained.topic)) continue;
      const { project: _, ...delivery } = retained;
      const qos = Math.min(delivery.qos, subscription.qos) as Qos;
      const properties =
        subscription.id === undefined
          ? delivery.properties
          : { ...delivery.properties, subscriptionIds: [subscription.id] };
      this.router.give(session, { ...delivery, qos, retain: true, ...(properties && { properties }) });
    }
  }

  subscribe(session: Session, filter: string, subscription: Subscription): void {
    this.memory.subscribe(session, filter, subscription);
    this.router.add(session, filter, subscription);
  }
  unsubscribe(session: Session, filter: string): boolean {
    this.router.remove(session, filter);
    return this.memory.unsubscribe(session, filter);
  }

  acknowledged(session: Session, id: number): void {
    const found = session.inFlight.get(id);
    if (!found) return;
    session.inFlight.delete(id);
    this.memory.done(session, found.message);
    this.router.pump(session);
  }
  released(session: Session, id: number, reason: number): void {
    const found = session.inFlight.get(id);
    if (!found) return;
    if (reason >= 0x80) this.acknowledged(session, id);
    else found.released = true;
  }

  // What its owner asks -------------------------------------------------------------------------------------------------

  async publishMessage(project: string, message: Delivery): Promise<void> {
    const packet: Publish = { ...message, type: 'publish', dup: false, id: 0 };
    await this.#spread(project, packet);
  }

  disconnect(identity: DeviceIdentity, reason: 'removed' | 'rotated' | 'moved'): void {
    for (const session of [...this.memory.sessions.values()]) {
      if (session.identity.project !== identity.project || session.identity.device !== identity.device)
        continue;
      session.line?.close(REASON.administrative);
      if (reason === 'removed') this.#forget(session);
    }
  }

  async exportSession(identity: DeviceIdentity, clientId: string) {
    const session = this.memory.sessions.get(sessionKey(identity, clientId));
    if (!session?.persistent) return undefined;
    session.line?.close(REASON.takenOver);
    return {
      state: this.memory.exported(session),
      done: async () => {
        this.#forget(session);
        await this.memory.sync();
      },
    };
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    clearTimeout(this.#sweep);
    this.#system.stop();
    for (const timer of this.#delayedWills.values()) clearTimeout(timer);
    for (const connection of [...this.#connections]) connection.close(REASON.shuttingDown);
    await Promise.all(this.#listeners.map((listener) => listener.close()));
    await this.memory.close();
  }
}
