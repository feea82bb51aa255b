/**
 * One connection of a device: from its first bytes to its end. What it sends is taken in order; acknowledgements leave in the
 * order in which the messages came, each when its message is durable.
 *
 *     new -> connecting (who is it?) -> open -> closed
 */
import type { Duplex } from 'node:stream';
import { Busy, type ConnectAnswer } from '../ports.ts';
import { PacketReader } from './codec/decode.ts';
import {
  encodeAcknowledge,
  encodeConnack,
  encodeDisconnect,
  encodeSuback,
  encodeUnsuback,
  PINGRESP,
} from './codec/encode.ts';
import {
  type Connect,
  type Incoming,
  ProtocolError,
  type Publish,
  REASON,
  type Subscribe,
  type Will,
} from './codec/packets.ts';
import type { BrokerCore } from './core.ts';
import type { Line, Session } from './session.ts';
import { isFilter, isTopic, sharedParts } from './topics.ts';

/** While who takes messages can take none: how long until it is asked again. */
const BUSY_MS = 100;
/** Messages of one connection that wait to be durable; beyond it nothing more is read from it. */
const PENDING_LIMIT = 256;

export interface ConnectionAbout {
  readonly remoteAddress: string;
  readonly certificate?: Uint8Array;
}
/**
 * What one turn of the loop has for devices goes out at its end, for all of them after each other: a write that wakes its reader
 * between two reads costs twice.
 */
let flushes: (() => void)[] = [];
function flushLater(flush: () => void): void {
  if (flushes.push(flush) > 1) return;
  setImmediate(() => {
    const due = flushes;
    flushes = [];
    for (const one of due) one();
  });
}

type Accepted = Extract<ConnectAnswer, { identity: unknown }>;

export class Connection implements Line {
  readonly #core: BrokerCore;
  readonly #stream: Duplex;
  readonly #about: ConnectionAbout;
  readonly #reader: PacketReader;
  #state: 'new' | 'connecting' | 'open' | 'closed' = 'new';
  #early: Incoming[] = [];
  #session: Session | undefined;
  #accepted: Accepted | undefined;
  #hasWill = false;
  version = 4;
  receiveMaximum = 65_535;
  packetBytes = Number.POSITIVE_INFINITY;
  readonly #aliases = new Map<number, string>();
  #timer: NodeJS.Timeout | undefined;
  #keepAliveMs = 0;
  #seenAtMs = Date.now();
  #corked = false;
  /** Acknowledgements in the order of their messages. */
  #pending: { packet: Buffer | undefined }[] = [];
  #holds = 0;
  #tokens = 0;
  #tokensAtMs = Date.now();

  constructor(core: BrokerCore, stream: Duplex, about: ConnectionAbout) {
    this.#core = core;
    this.#stream = stream;
    this.#about = about;
    this.#reader = new PacketReader(core.limits.packetBytes);
    this.#timer = setTimeout(() => this.#end(false), core.limits.connectMs);
    stream.on('data', (chunk: Buffer) => this.#data(chunk));
    stream.on('drain', () => this.#session && core.router.pump(this.#session));
    stream.on('error', () => this.#end(true));
    stream.on('close', () => this.#end(true));
    stream.on('end', () => this.#end(true));
  }

  get unsentBytes(): number {
    return this.#stream.writableLength;
  }
  get remoteAddress(): string {
    return this.#about.remoteAddress;
  }

  send(packet: Buffer): void {
    if (this.#state === 'closed') return;
    if (!this.#corked) {
      this.#corked = true;
      this.#stream.cork();
      flushLater(this.#uncork);
    }
    this.#stream.write(packet);
  }

  readonly #uncork = (): void => {
    this.#corked = false;
    this.#stream.uncork();
  };

  #data(chunk: Buffer): void {
    this.#seenAtMs = Date.now();
    try {
      this.#reader.push(chunk, (packet) => {
        if (this.#state === 'closed') return;
        this.#take(packet);
      });
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#core.counts.malformed++;
      if (this.#state === 'new' && error.reason === REASON.unsupportedVersion)
        this.send(encodeConnack(4, false, error.reason));
      this.close(error.reason);
    }
  }

  #take(packet: Incoming): void {
    if (this.#state === 'connecting') {
      this.#early.push(packet);
      if (this.#early.length === PENDING_LIMIT) this.#hold();
      return;
    }
    if ((packet.type === 'connect') !== (this.#state === 'new'))
      throw new ProtocolError(REASON.protocolError, `${packet.type} at the wrong moment`);
    switch (packet.type) {
      case 'connect':
        this.#connect(packet).catch(() => this.close(REASON.unspecified));
        return;
      case 'publish':
        this.#publish(packet);
        return;
      case 'puback':
      case 'pubcomp':
        this.#acknowledged(packet.id);
        return;
      case 'pubrec':
        this.#core.released(this.#session!, packet.id, packet.reason);
        this.send(encodeAcknowledge(this.version, 'pubrel', packet.id));
        return;
      case 'pubrel': {
        const was = this.#core.memory.release(this.#session!, packet.id);
        this.send(encodeAcknowledge(this.version, 'pubcomp', packet.id, was ? 0 : REASON.packetIdNotFound));
        return;
      }
      case 'subscribe':
        this.#subscribe(packet);
        return;
      case 'unsubscribe': {
        const reasons = packet.filters.map((filter) =>
          this.#core.unsubscribe(this.#session!, filter) ? REASON.success : REASON.noSubscriptionExisted,
        );
        this.#inOrder(() => encodeUnsuback(this.version, packet.id, reasons), this.#core.memory.sync());
        return;
      }
      case 'pingreq':
        this.send(PINGRESP);
        return;
      case 'disconnect':
        if (packet.properties.sessionExpiry !== undefined)
          this.#core.setExpiry(this.#session!, packet.properties.sessionExpiry);
        this.#end(packet.reason === REASON.disconnectWithWill);
        return;
      case 'auth':
        throw new ProtocolError(REASON.protocolError, 'there is no further authentication');
    }
  }

  // CONNECT -------------------------------------------------------------------------------------------------------------

  async #connect(packet: Connect): Promise<void> {
    this.#state = 'connecting';
    this.version = packet.version;
    const { properties } = packet;
    const refuse = (reason: number) => {
      this.#core.counts.refusedConnections++;
      this.send(encodeConnack(this.version, false, reason));
      this.#end(false);
    };
    if (properties.authMethod !== undefined) return refuse(REASON.badAuthMethod);
    if (properties.receiveMaximum === 0 || properties.maximumPacketSize === 0)
      return refuse(REASON.protocolError);
    if (this.version < 5 && packet.clientId === '' && !packet.cleanStart) return refuse(REASON.badClientId);
    if (Buffer.byteLength(packet.clientId) > 256) return refuse(REASON.badClientId);
    const answer = await this.#core.hooks.authenticate({
      ...{ clientId: packet.clientId, remoteAddress: this.#about.remoteAddress },
      ...(packet.username !== undefined && { username: packet.username }),
      ...(packet.password && { password: packet.password }),
      ...(this.#about.certificate && { certificate: this.#about.certificate }),
    });
    if (this.#ended) return;
    if ('refused' in answer) {
      const reasons = {
        'bad-credentials': REASON.badCredentials,
        'not-authorized': REASON.notAuthorized,
      } as const;
      return refuse(answer.refused === 'unavailable' ? REASON.unavailable : reasons[answer.refused]);
    }
    const { will } = packet;
    if (will && !(isTopic(will.topic) && this.#core.hooks.mayPublish(answer.identity, will.topic)))
      return refuse(REASON.notAuthorized);
    this.#accepted = answer;
    this.#tokens = answer.messagesPerSecond ?? 0;
    const clientId = packet.clientId || this.#core.drawClientId();
    const { session, present } = await this.#core.openSession(answer.identity, clientId, packet);
    if (this.#ended) return;
    if (this.version === 5) {
      this.receiveMaximum = properties.receiveMaximum ?? 65_535;
      this.packetBytes = properties.maximumPacketSize ?? Number.POSITIVE_INFINITY;
    }
    this.#begin(session, present, packet, will, clientId);
  }

  get #ended(): boolean {
    return this.#state === 'closed';
  }

  #begin(
    session: Session,
    present: boolean,
    packet: Connect,
    will: Will | undefined,
    clientId: string,
  ): void {
    this.#session = session;
    this.#state = 'open';
    this.#core.attached(session, this, will);
    this.#hasWill = will !== undefined;
    clearTimeout(this.#timer);
    this.#keepAliveMs = packet.keepAliveSeconds * 1500;
    this.#watchKeepAlive();
    const { limits } = this.#core;
    this.send(
      encodeConnack(this.version, present, REASON.success, {
        ...{ receiveMaximum: PENDING_LIMIT, topicAliasMaximum: limits.topicAliases },
        ...{ maximumPacketSize: this.#messageBytes },
        ...(packet.clientId === '' && { assignedClientId: clientId }),
        ...((packet.properties.sessionExpiry ?? 0) > limits.sessionSeconds && {
          sessionExpiry: limits.sessionSeconds,
        }),
      }),
    );
    this.#core.hooks.connected(session.identity, clientId, this.#about.remoteAddress);
    this.#core.router.resume(session);
    const early = this.#early;
    this.#early = [];
    if (early.length >= PENDING_LIMIT) this.#release();
    try {
      for (const one of early) if (!this.#ended) this.#take(one);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#core.counts.malformed++;
      this.close(error.reason);
    }
  }

  get #messageBytes(): number {
    return Math.min(this.#accepted?.messageBytes ?? Number.POSITIVE_INFINITY, this.#core.limits.packetBytes);
  }

  /** One timer, set anew only when it is due: a packet costs none. */
  #watchKeepAlive(): void {
    if (this.#keepAliveMs === 0) return;
    const left = this.#seenAtMs + this.#keepAliveMs - Date.now();
    if (left <= 0) {
      this.close(REASON.keepAliveTimeout);
      return;
    }
    this.#timer = setTimeout(() => this.#watchKeepAlive(), left);
  }

  // PUBLISH -------------------------------------------------------------------------------------------------------------

  #topicOf(packet: Publish): string {
    const alias = packet.properties?.topicAlias;
    if (alias === undefined) return packet.topic;
    if (alias < 1 || alias > this.#core.limits.topicAliases)
      throw new ProtocolError(REASON.badAlias, `the topic alias ${alias}`);
    if (packet.topic !== '') {
      this.#aliases.set(alias, packet.topic);
      return packet.topic;
    }
    const known = this.#aliases.get(alias);
    if (known === undefined)
      throw new ProtocolError(REASON.protocolError, `the topic alias ${alias} is not known`);
    return known;
  }

  #publish(packet: Publish): void {
    const session = this.#session!;
    const topic = this.#topicOf(packet);
    if (!isTopic(topic)) throw new ProtocolError(REASON.badTopic, 'a topic that can not be');
    if (packet.payload.length > this.#messageBytes)
      throw new ProtocolError(REASON.tooLarge, `a message of ${packet.payload.length} bytes`);
    this.#core.counts.received++;
    this.#pace();
    const answer = (reason: number) => {
      const type = packet.qos === 1 ? 'puback' : 'pubrec';
      return encodeAcknowledge(this.version, type, packet.id, reason);
    };
    if (!this.#core.hooks.mayPublish(session.identity, topic)) {
      this.#core.counts.forbidden++;
      // 3.1.1 has no word for it: who is told nothing would go on losing messages.
      if (this.version < 5) this.close(REASON.notAuthorized);
      else if (packet.qos > 0) this.#inOrder(() => answer(REASON.notAuthorized));
      return;
    }
    if (packet.qos === 2 && session.received.has(packet.id)) {
      this.#inOrder(() => answer(REASON.success));
      return;
    }
    if (packet.qos === 2 && session.received.size >= 65_535)
      throw new ProtocolError(REASON.receiveMaximum, 'QoS 2');
    const safe = this.#core.publish(session, { ...packet, topic });
    if (packet.qos === 0) {
      safe?.catch(() => undefined); // counted by who could not take it
      return;
    }
    if (!safe) {
      if (packet.qos === 2) this.#core.memory.receive(session, packet.id);
      this.#inOrder(() => answer(REASON.success));
      return;
    }
    this.#inOrder(
      (failed) => {
        if (failed) return answer(REASON.quota);
        if (packet.qos === 2) this.#core.memory.receive(session, packet.id);
        return answer(REASON.success);
      },
      this.#patiently(safe, () => this.#core.ingest(session, { ...packet, topic })),
    );
  }

  /** Who is busy is asked again: of MQTT 5 the device (it is told so), before 5 the device is held until it works. */
  async #patiently(safe: Promise<void>, again: () => Promise<void> | undefined): Promise<void> {
    for (let asked: Promise<void> | undefined = safe; ; asked = again()) {
      try {
        await asked;
        return;
      } catch (error) {
        if (!(error instanceof Busy)) throw error;
        if (this.version === 5 || this.#ended) throw error;
        this.#hold();
        await new Promise((resolve) => setTimeout(resolve, BUSY_MS).unref());
        this.#release();
      }
    }
  }

  /** Sends what `make` gives after what came before, and not before it is safe. */
  #inOrder(make: (failed: boolean) => Buffer, safe?: Promise<void>): void {
    if (!safe && this.#pending.length === 0) {
      this.send(make(false));
      return;
    }
    const place: { packet: Buffer | undefined } = { packet: undefined };
    this.#pending.push(place);
    if (this.#pending.length === PENDING_LIMIT) this.#hold();
    const settle = (failed: boolean) => {
      place.packet = make(failed);
      this.#flushPending();
    };
    if (!safe) settle(false);
    else
      safe.then(
        () => settle(false),
        (error: unknown) => {
          if (error instanceof Busy && this.version === 5) settle(true);
          else this.close(REASON.unspecified); // no acknowledgement: the device sends it again
        },
      );
  }
  #flushPending(): void {
    const full = this.#pending.length >= PENDING_LIMIT;
    let sent = 0;
    while (sent < this.#pending.length && this.#pending[sent]!.packet)
      this.send(this.#pending[sent++]!.packet!);
    if (sent > 0) this.#pending.splice(0, sent);
    if (full && this.#pending.length < PENDING_LIMIT) this.#release();
  }

  /** A device that is too quick is read from more slowly: nothing is lost. */
  #pace(): void {
    const limit = this.#accepted?.messagesPerSecond;
    if (limit === undefined) return;
    const now = Date.now();
    this.#tokens = Math.min(limit, this.#tokens + ((now - this.#tokensAtMs) * limit) / 1000) - 1;
    this.#tokensAtMs = now;
    if (this.#tokens >= 0) return;
    this.#hold();
    setTimeout(() => this.#release(), (-this.#tokens * 1000) / limit).unref();
  }

  #hold(): void {
    if (this.#holds++ === 0) this.#stream.pause();
  }
  #release(): void {
    if (--this.#holds > 0 || this.#ended) return;
    this.#seenAtMs = Date.now(); // it was not listened to
    this.#stream.resume();
  }

  // The rest ------------------------------------------------------------------------------------------------------------

  #acknowledged(id: number): void {
    this.#core.acknowledged(this.#session!, id);
  }

  #subscribe({ id, subscriptions, properties }: Subscribe): void {
    const session = this.#session!;
    const subscriptionId = properties.subscriptionIds?.[0];
    if (subscriptionId === 0)
      throw new ProtocolError(REASON.protocolError, 'the subscription identifier is 0');
    const retained: (() => void)[] = [];
    const reasons = subscriptions.map(({ filter, retainHandling, ...options }) => {
      const shared = sharedParts(filter);
      const plain = shared?.filter ?? filter;
      if (!isFilter(plain) || (!shared && filter.startsWith('$share/'))) return REASON.badFilter;
      if (!this.#core.hooks.maySubscribe(session.identity, plain)) return REASON.notAuthorized;
      const known = session.subscriptions.has(filter);
      if (!known && session.subscriptions.size >= this.#core.limits.subscriptions) return REASON.quota;
      const subscription = { ...options, ...(subscriptionId !== undefined && { id: subscriptionId }) };
      this.#core.subscribe(session, filter, subscription);
      if (!shared && (retainHandling === 0 || (retainHandling === 1 && !known)))
        retained.push(() => this.#core.giveRetained(session, filter, subscription));
      return options.qos;
    });
    this.#inOrder(
      () => {
        // After SUBACK: what is sent now stands behind it.
        process.nextTick(() => {
          for (const give of retained) if (session.line === this) give();
        });
        return encodeSuback(this.version, id, reasons);
      },
      session.persistent ? this.#core.memory.sync() : undefined,
    );
  }

  /** MQTT 5 is told why. */
  close(reason: number): void {
    if (this.#ended) return;
    if (this.version === 5 && this.#state === 'open') this.send(encodeDisconnect(reason));
    this.#end(reason !== REASON.administrative);
  }

  #end(withWill: boolean): void {
    if (this.#ended) return;
    const was = this.#state;
    this.#state = 'closed';
    clearTimeout(this.#timer);
    this.#early = [];
    this.#stream.end();
    // Who does not read what is left is not waited for.
    const given = setTimeout(() => this.#stream.destroy(), 2000).unref();
    this.#stream.once('close', () => clearTimeout(given));
    this.#core.ended(
      this,
      was === 'open' ? this.#session : undefined,
      this.#hasWill && withWill,
      this.#seenAtMs,
    );
  }
}
