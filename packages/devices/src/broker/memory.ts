/**
 * Sessions, retained messages and wills of a broker, and how they are noted and found again. Who changes one of them calls the
 * method for it: memory and journal never say different things.
 */
import type { SessionState } from '../ports.ts';
import type { Properties, Qos, Will } from './codec/packets.ts';
import { type Change, Journal, type Recorded } from './journal.ts';
import { type Delivery, Session, type Subscription, type Waiting } from './session.ts';

const NONE = new Uint8Array();
export interface Retained extends Delivery {
  readonly project: string;
}

/** Properties as JSON: what is bytes becomes base64. */
const plain = (properties: Properties | undefined) =>
  properties && {
    ...properties,
    ...(properties.correlationData && {
      correlationData: Buffer.from(properties.correlationData).toString('base64'),
    }),
  };
const rich = (properties: unknown): Properties | undefined => {
  if (properties === undefined || properties === null) return undefined;
  const found = properties as Properties & { correlationData?: unknown };
  return typeof found.correlationData === 'string'
    ? { ...found, correlationData: Buffer.from(found.correlationData, 'base64') }
    : found;
};
const deliveryHead = ({ topic, qos, retain, properties, expiresAtMs }: Delivery) => ({
  ...{ topic, qos, retain },
  ...(properties && { properties: plain(properties) }),
  ...(expiresAtMs !== undefined && { expiresAtMs }),
});
const deliveryOf = (change: Change, payload: Uint8Array): Delivery => {
  const properties = rich(change.properties);
  return {
    ...{ topic: change.topic as string, qos: change.qos as Qos, retain: change.retain as boolean, payload },
    ...(properties && { properties }),
    ...(change.expiresAtMs !== undefined && { expiresAtMs: change.expiresAtMs as number }),
  };
};

export class BrokerMemory {
  readonly sessions = new Map<string, Session>();
  /** By project, then topic. */
  readonly retained = new Map<string, Map<string, Retained>>();
  readonly retainedBytes = new Map<string, number>();
  /** Of sessions that are connected, or whose will waits for its delay; by key. */
  readonly wills = new Map<string, Will>();
  #journal: Journal | undefined;

  static async open(folder: string): Promise<BrokerMemory> {
    const memory = new BrokerMemory();
    memory.#journal = await Journal.open(
      folder,
      (recorded) => memory.#apply(recorded),
      () => memory.#all(),
    );
    return memory;
  }
  sync(): Promise<void> {
    return this.#journal!.sync();
  }
  close(): Promise<void> {
    return this.#journal!.close();
  }
  #note(change: Change, payload?: Uint8Array): void {
    this.#journal!.note(change, payload);
  }

  /** It is there from now on, or has another time to live. */
  keep(session: Session): void {
    this.sessions.set(session.key, session);
    if (session.persistent) this.#note(this.#head(session));
  }
  #head({ key, identity, clientId, expirySeconds, expiresAtMs, nextNumber }: Session): Change {
    return {
      do: 'session',
      key,
      identity,
      clientId,
      expirySeconds,
      nextNumber,
      ...(expiresAtMs && { expiresAtMs }),
    };
  }
  forget(session: Session): void {
    this.sessions.delete(session.key);
    if (session.persistent) this.#note({ do: 'gone', key: session.key });
  }

  subscribe(session: Session, filter: string, subscription: Subscription): void {
    session.subscriptions.set(filter, subscription);
    if (session.persistent) this.#note({ do: 'subscribe', key: session.key, filter, subscription });
  }
  unsubscribe(session: Session, filter: string): boolean {
    const was = session.subscriptions.delete(filter);
    if (was && session.persistent) this.#note({ do: 'unsubscribe', key: session.key, filter });
    return was;
  }

  enqueue(session: Session, delivery: Delivery): void {
    // A copy: what it came with is a piece of a larger buffer.
    const payload = Buffer.from(delivery.payload);
    const message: Waiting = { ...delivery, payload, number: session.nextNumber++ };
    session.waiting.push(message);
    session.waitingBytes += message.payload.length;
    if (!session.persistent) return;
    this.#note(
      { do: 'queue', key: session.key, number: message.number, ...deliveryHead(message) },
      message.payload,
    );
  }
  /** The device has it, or it is dropped. */
  done(session: Session, message: Waiting): void {
    session.waitingBytes -= message.payload.length;
    if (session.persistent) this.#note({ do: 'done', key: session.key, number: message.number });
  }
  receive(session: Session, id: number): void {
    session.received.add(id);
    if (session.persistent) this.#note({ do: 'receive', key: session.key, id });
  }
  release(session: Session, id: number): boolean {
    const was = session.received.delete(id);
    if (was && session.persistent) this.#note({ do: 'release', key: session.key, id });
    return was;
  }

  /** A payload without bytes takes it away. */
  retain(project: string, delivery: Delivery): void {
    const message: Retained = { ...delivery, payload: Buffer.from(delivery.payload), project };
    this.#setRetained(message);
    const change = message.payload.length === 0 ? 'unretain' : 'retain';
    this.#note({ do: change, project, ...deliveryHead(message) }, message.payload);
  }
  #setRetained(message: Retained): void {
    const { project, topic, payload } = message;
    const topics = this.retained.get(project) ?? new Map<string, Retained>();
    this.retained.set(project, topics);
    const before = topics.get(topic)?.payload.length ?? 0;
    this.retainedBytes.set(project, (this.retainedBytes.get(project) ?? 0) + payload.length - before);
    if (payload.length > 0) topics.set(topic, message);
    else topics.delete(topic);
  }

  setWill(key: string, will: Will | undefined): void {
    if (!will) {
      if (this.wills.delete(key)) this.#note({ do: 'no-will', key });
      return;
    }
    this.wills.set(key, will);
    this.#note(this.#willHead(key, will), will.payload);
  }
  #willHead(key: string, { topic, qos, retain, properties }: Will): Change {
    return { do: 'will', key, topic, qos, retain, properties: plain(properties) };
  }

  /** A session as it goes to another node. */
  exported(session: Session): SessionState {
    const queued = [...[...session.inFlight.values()].map(({ message }) => message), ...session.waiting];
    return {
      clientId: session.clientId,
      subscriptions: [...session.subscriptions].map(([filter, { qos, ...options }]) => ({
        filter,
        qos,
        options,
      })),
      queued: queued.map(({ topic, payload, qos, expiresAtMs, properties }) => ({
        ...{ topic, payload: Buffer.from(payload).toString('base64'), qos: qos === 2 ? 2 : 1 },
        ...(expiresAtMs !== undefined && { expiresAtMs }),
        ...(properties && { properties: plain(properties) }),
      })),
      received: [...session.received],
      ...(session.expiresAtMs !== undefined && { expiresAtMs: session.expiresAtMs }),
    };
  }
  /** What another node had of it. */
  adopt(session: Session, state: SessionState): void {
    this.keep(session);
    for (const { filter, qos, options } of state.subscriptions)
      this.subscribe(session, filter, { ...(options as Omit<Subscription, 'qos'>), qos });
    for (const id of state.received) this.receive(session, id);
    for (const { topic, payload, qos, expiresAtMs, properties } of state.queued) {
      const found = rich(properties);
      this.enqueue(session, {
        ...{ topic, qos, retain: false, payload: Buffer.from(payload, 'base64') },
        ...(expiresAtMs !== undefined && { expiresAtMs }),
        ...(found && { properties: found }),
      });
    }
  }

  *#all(): Iterable<Recorded> {
    for (const session of [...this.sessions.values()]) {
      if (!session.persistent || !this.sessions.has(session.key)) continue;
      const { key } = session;
      yield { change: this.#head(session), payload: NONE };
      for (const [filter, subscription] of session.subscriptions)
        yield { change: { do: 'subscribe', key, filter, subscription }, payload: NONE };
      for (const id of session.received) yield { change: { do: 'receive', key, id }, payload: NONE };
      const all = [...[...session.inFlight.values()].map(({ message }) => message), ...session.waiting];
      for (const message of all)
        yield {
          change: { do: 'queue', key, number: message.number, ...deliveryHead(message) },
          payload: message.payload,
        };
    }
    for (const [project, topics] of this.retained)
      for (const message of topics.values())
        yield { change: { do: 'retain', project, ...deliveryHead(message) }, payload: message.payload };
    for (const [key, will] of this.wills) yield { change: this.#willHead(key, will), payload: will.payload };
  }

  #apply({ change, payload }: Recorded): void {
    const key = change.key as string;
    const session = this.sessions.get(key);
    switch (change.do) {
      case 'session': {
        const made =
          session ?? new Session(change.identity as Session['identity'], change.clientId as string);
        made.expirySeconds = change.expirySeconds as number;
        made.expiresAtMs = change.expiresAtMs as number | undefined;
        made.nextNumber = Math.max(made.nextNumber, change.nextNumber as number);
        this.sessions.set(key, made);
        return;
      }
      case 'gone':
        this.sessions.delete(key);
        return;
      case 'subscribe':
        session?.subscriptions.set(change.filter as string, change.subscription as Subscription);
        return;
      case 'unsubscribe':
        session?.subscriptions.delete(change.filter as string);
        return;
      case 'queue': {
        const number = change.number as number;
        if (!session || session.waiting.some((one) => one.number === number)) return;
        session.waiting.push({ ...deliveryOf(change, payload), number });
        session.waitingBytes += payload.length;
        session.nextNumber = Math.max(session.nextNumber, number + 1);
        return;
      }
      case 'done': {
        const at = session?.waiting.findIndex(({ number }) => number === change.number) ?? -1;
        if (at >= 0) session!.waitingBytes -= session!.waiting.splice(at, 1)[0]!.payload.length;
        return;
      }
      case 'receive':
        session?.received.add(change.id as number);
        return;
      case 'release':
        session?.received.delete(change.id as number);
        return;
      case 'retain':
      case 'unretain':
        this.#setRetained({ ...deliveryOf(change, payload), project: change.project as string });
        return;
      case 'will':
        this.wills.set(key, {
          ...{ topic: change.topic as string, qos: change.qos as Qos, retain: change.retain as boolean },
          ...{ payload, properties: rich(change.properties) ?? {} },
        });
        return;
      case 'no-will':
        this.wills.delete(key);
        return;
    }
  }
}
