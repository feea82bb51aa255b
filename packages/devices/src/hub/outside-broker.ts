/**
 * Another broker in the place of the hub's own: devices are connected to it (mosquitto, EMQX, HiveMQ, NATS), and it knows who
 * they are. The hub subscribes with a session that stays, and acknowledges a message when all that want it have it durable: what
 * it did not acknowledge comes again after a crash, perhaps twice.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { SkerryError } from '@skerry/model';
import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt';
import type { Message } from '../message.ts';
import { type Broker, type BrokerHooks, Busy, type DeviceIdentity } from '../ports.ts';
import { DEFAULT_OUTSIDE_TOPICS, type OutsideTopics, readOutsideTopics } from './outside-topics.ts';
import type { Logger } from './parts.ts';

/** In seconds: as long as the hub may be away and miss nothing, if the other broker allows it. */
const SESSION_S = 7 * 86_400;
const RECONNECT_MS = 1000;
const CONNECT_LIMIT_MS = 15_000;
const BUSY_PAUSE_MS = 100;

export interface OutsideOptions {
  readonly url: string;
  /** A JSON file: `{"username", "password", "ca"?: PEM}`. */
  readonly credentialsFile?: string;
  readonly topics?: string;
  /** Makes the client id, which is the session's: the same after every start, another one for each node. */
  readonly node: string;
  readonly hooks: BrokerHooks;
  /** A message of a device that nobody knows is acknowledged and dropped. */
  readonly isKnown: (identity: DeviceIdentity) => boolean;
  readonly seen: (identity: DeviceIdentity) => void;
  readonly logger: Logger;
}

interface Credentials {
  readonly username?: string;
  readonly password?: string;
  readonly ca?: string;
}

/** Errors: request_invalid, never with what the file holds. */
function readCredentials(path: string | undefined): Credentials {
  if (path === undefined) return {};
  try {
    const { username, password, ca } = JSON.parse(readFileSync(path, 'utf8')) as Credentials;
    return {
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password }),
      ...(ca !== undefined && { ca }),
    };
  } catch {
    throw new SkerryError(
      'request_invalid',
      `${path} can not be read as {"username": …, "password": …, "ca": …} in JSON`,
    );
  }
}

export function createOutsideBroker(options: OutsideOptions): Broker {
  return new OutsideBroker(options);
}

class OutsideBroker implements Broker {
  readonly #options: OutsideOptions;
  readonly #topics: OutsideTopics;
  readonly #start = randomBytes(9).toString('base64url');
  readonly #counts = { received: 0, unknown: 0, reconnects: 0 };
  #number = 0;
  #client: MqttClient | undefined;
  #stopped = false;

  constructor(options: OutsideOptions) {
    this.#options = options;
    this.#topics = readOutsideTopics(options.topics ?? DEFAULT_OUTSIDE_TOPICS);
  }

  /** The first connection need not have come: it is tried for as long as it takes. */
  async start() {
    const { url, credentialsFile, node, logger } = this.#options;
    const settings: IClientOptions = {
      ...readCredentials(credentialsFile),
      ...{ protocolVersion: 5, clientId: `skerry-${node}`, clean: false, resubscribe: false },
      ...{ reconnectPeriod: RECONNECT_MS, connectTimeout: CONNECT_LIMIT_MS, queueQoSZero: false },
      properties: { sessionExpiryInterval: SESSION_S, receiveMaximum: 100 },
    };
    const client = mqtt.connect(url, settings);
    this.#client = client;
    client.on('connect', ({ sessionPresent }) => {
      logger.info({ url, sessionPresent }, 'connected to the broker of the devices');
      client.subscribe(this.#topics.filter, { qos: 2 }, (error, granted) => {
        const refused = granted?.some(({ qos }) => qos >= 0x80);
        if (error || refused)
          logger.warn({ err: error, url }, 'the broker of the devices refused to be subscribed to');
      });
    });
    client.on('reconnect', () => this.#counts.reconnects++);
    client.on('error', (error) => logger.warn({ err: error, url }, 'the broker of the devices'));
    // the packet is acknowledged when this calls back without an error
    client.handleMessage = (packet: IPublishPacket, done) => {
      this.#take(packet).then(
        () => done(),
        (error: Error) => {
          logger.warn({ err: error }, 'a message was not taken: it comes again');
          client.reconnect();
          done(error);
        },
      );
    };
    return [];
  }

  async publish(project: string, { topic, payload, qos, retain }: Parameters<Broker['publish']>[1]) {
    const client = this.#client;
    if (!client?.connected)
      throw new SkerryError('unavailable', 'the broker of the devices does not answer at present');
    await client.publishAsync(this.#topics.outside(project, topic), Buffer.from(payload), { qos, retain });
  }

  /** Who may be connected there is that broker's affair. */
  disconnect(): void {}

  async exportSession() {
    return undefined;
  }

  counts() {
    return { ...this.#counts };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#client?.endAsync(true);
  }

  async #take({ topic, payload, qos, retain, properties }: IPublishPacket): Promise<void> {
    const { hooks, isKnown, seen } = this.#options;
    const of = this.#topics.of(topic);
    if (!of) return;
    const identity = { project: of.project, device: of.device };
    this.#counts.received++;
    if (!isKnown(identity)) {
      this.#counts.unknown++;
      return;
    }
    seen(identity);
    const message: Message = {
      ...identity,
      ...{ id: `${this.#start}.${(this.#number++).toString(36)}`, topic: of.topic, receivedAtMs: Date.now() },
      ...{ qos, retain, payload: Buffer.from(payload) },
      ...(properties?.contentType !== undefined && { contentType: properties.contentType }),
    };
    while (!this.#stopped) {
      try {
        return await hooks.ingest(message);
      } catch (error) {
        if (!(error instanceof Busy)) throw error;
        await new Promise((resolve) => setTimeout(resolve, BUSY_PAUSE_MS)); // and with it the whole connection waits
      }
    }
    throw new Error('the device program ends');
  }
}
