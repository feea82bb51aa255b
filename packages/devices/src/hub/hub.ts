/**
 * The device program of a node: joins broker, streams and series, by what the directory says. It needs neither agent nor
 * controller to go on; the agent feeds it, hears its reports and relays questions.
 *
 *   broker, HTTP -> auth -> ingest -> streams (a flow each) -> sinks          shadow, sessions, reports beside it
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { FeedItem, FeedStream, HubCall } from '@skerry/contract';
import { writeFileDurably } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import type { Message } from '../message.ts';
import type { Broker, BrokerHooks, DeviceIdentity, Flow, GuestEndpoints } from '../ports.ts';
import { Auth, standingOf } from './auth.ts';
import { type Change, Directory } from './directory.ts';
import { HttpIngest } from './http-ingest.ts';
import { Ingest, streamKey } from './ingest.ts';
import { Listeners } from './listeners.ts';
import { type Local, readLocal, writeLocal } from './local.ts';
import type { HubParts, Logger, SeriesPart } from './parts.ts';
import { type ReportLine, Reports } from './reports.ts';
import { Sessions } from './sessions.ts';
import { Shadow } from './shadow.ts';
import { Streams } from './streams.ts';

export interface HubOptions {
  /** `<dataDir>/devices` */
  readonly folder: string;
  readonly parts: HubParts;
  readonly logger: Logger;
}

export class Hub {
  readonly #options: HubOptions;
  readonly #directory: Directory;
  readonly #auth: Auth;
  readonly #ingest: Ingest;
  readonly #streams: Streams;
  readonly #shadow: Shadow;
  readonly #sessions: Sessions;
  readonly #reports: Reports;
  readonly #listeners: Listeners;
  #local: Local | undefined;
  #series: SeriesPart | undefined;
  #turn: Promise<void> = Promise.resolve();

  constructor(options: HubOptions) {
    const { folder, logger } = options;
    this.#options = options;
    this.#directory = new Directory(folder);
    this.#auth = new Auth(this.#directory, { onEnrol: () => this.#reports.changed() });
    this.#streams = new Streams(folder, this.#directory, (stream, at) => this.#openFlow(stream, at));
    this.#ingest = new Ingest(this.#directory, (key) => this.#streams.slot(key));
    this.#shadow = new Shadow({
      directory: this.#directory,
      publish: async (project, topic, value, retain) => {
        const payload = Buffer.from(value === undefined ? '' : JSON.stringify(value));
        await this.#listeners.broker?.publish(project, { topic, payload, qos: 1, retain });
      },
      onReported: (identity) => this.#reports.reported(identity),
    });
    this.#reports = new Reports({
      directory: this.#directory,
      streams: () => this.#streams.report(),
      enrolling: () => this.#auth.enrolling,
      listening: () => this.#listeners.urls,
    });
    this.#sessions = new Sessions({
      directory: this.#directory,
      reports: this.#reports,
      node: () => this.#local?.node ?? '',
      broker: () => this.#listeners.broker,
    });
    this.#listeners = new Listeners({
      openBroker: async (listen, tls) =>
        (await this.#outside()) ??
        options.parts.broker({
          ...{ folder: join(folder, 'broker'), node: this.#local?.node ?? '', hooks: this.#hooks() },
          ...{ listen, logger, ...(tls && { tls }) },
        }),
      http: new HttpIngest({
        authenticate: (request) => this.#auth.authenticate(request),
        mayPublish: (identity, topic) => this.#auth.mayPublish(identity, topic),
        take: (message) => this.#fromHttp(message),
        seen: (identity) => this.#reports.seen(identity),
      }),
      logger,
    });
    this.#directory.onChange((changes) => this.#changed(changes));
  }

  /** Begins with what it knows from before. Resolves when devices may come in, where it knows where. */
  async start(): Promise<void> {
    this.#local = readLocal(this.#options.folder);
    this.#series = await this.#options.parts.series(
      join(this.#options.folder, 'series'),
      this.#options.logger,
    );
    await this.#streams.start();
    if (this.#local) await this.#listen(this.#local);
  }

  get revision(): number {
    return this.#directory.revision;
  }

  /** Whether there is a device or a stream. */
  get isWanted(): boolean {
    return this.#directory.isWanted;
  }

  /** Durable when it returns. Returns the revision to resume from. */
  feed(items: readonly FeedItem[]): number {
    return this.#directory.apply(items);
  }

  /** Durable, and in effect, when it resolves. */
  tell(local: Local): Promise<void> {
    const turn = this.#turn.then(async () => {
      writeLocal(this.#options.folder, local);
      this.#local = local;
      await this.#listen(local);
    });
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** What could not be listened on, and why. */
  get troubles(): readonly { readonly url: string; readonly reason: string }[] {
    return this.#listeners.troubles;
  }

  report(signal: AbortSignal): AsyncIterable<ReportLine> {
    return this.#reports.listen(signal);
  }

  /** What another node answered to a question of the report. */
  answered(id: number, values: readonly unknown[] | undefined): void {
    this.#reports.answered(id, values);
  }

  /** Errors: not_found, unavailable, and those of the part that is asked. */
  async *call(call: HubCall, signal: AbortSignal): AsyncGenerator<unknown> {
    switch (call.verb) {
      case 'stream-tail': {
        const slot = this.#streams.slot(streamKey({ project: call.project, name: call.stream }));
        if (!slot) throw new SkerryError('not_found', `this node has no stream ${call.stream}`);
        yield* slot.tail(signal);
        return;
      }
      case 'session-take':
        yield* this.#sessions.give(call, call.clientId);
        return;
      case 'session-taken':
        await this.#sessions.taken(call, call.clientId);
        return;
      case 'publish': {
        const broker = this.#listeners.broker;
        if (!broker) throw new SkerryError('unavailable', 'devices can not come in at this node');
        const { project, topic, qos, retain } = call;
        await broker.publish(project, { topic, qos, retain, payload: Buffer.from(call.payload, 'base64') });
        return;
      }
      default:
        if (!this.#series) throw new SkerryError('unavailable', 'the device program has not begun yet');
        yield* this.#series.call(call, signal);
    }
  }

  async stop(): Promise<void> {
    await this.#turn;
    this.#reports.close();
    this.#sessions.close();
    await this.#listeners.close();
    await this.#streams.close();
    await this.#series?.close();
    this.#directory.close();
  }

  async #listen(local: Local): Promise<void> {
    await this.#listeners.wish(local);
    const found = { listening: this.#listeners.urls, troubles: this.#listeners.troubles };
    writeFileDurably(join(this.#options.folder, 'listening.json'), `${JSON.stringify(found)}\n`, 0o644);
    this.#reports.changed();
  }

  /** Another broker, where the node was told of one. It is loaded only then. */
  async #outside(): Promise<Broker | undefined> {
    const [outside, node] = [this.#local?.outside, this.#local?.node ?? ''];
    if (!outside) return undefined;
    const { createOutsideBroker } = await import('./outside-broker.ts');
    return createOutsideBroker({
      ...{ ...outside, node, hooks: this.#hooks(), logger: this.#options.logger },
      isKnown: ({ project, device }) => {
        const known = this.#directory.device(project, device);
        return known !== undefined && !known.spec.disabled;
      },
      seen: (identity) => this.#reports.seen(identity),
    });
  }

  #hooks(): BrokerHooks {
    return {
      authenticate: (request) => this.#auth.authenticate(request),
      mayPublish: (identity, topic) => this.#auth.mayPublish(identity, topic),
      maySubscribe: (identity, filter) => this.#auth.maySubscribe(identity, filter),
      ingest: (message) => this.#taken(message),
      connected: (identity, clientId) => {
        this.#reports.connectedNow(identity, clientId);
        this.#sessions.arrived(identity, clientId);
        this.#shadow.connected(identity);
      },
      disconnected: (identity, clientId, seenAtMs) =>
        this.#reports.disconnected(identity, clientId, seenAtMs),
      fetchSession: (identity, clientId, signal) => this.#sessions.fetch(identity, clientId, signal),
    };
  }

  #taken(message: Message): Promise<void> | undefined {
    if (message.topic.startsWith('$')) return this.#shadow.take(message);
    this.#reports.changed();
    return this.#ingest.take(message);
  }

  /** Others may have subscribed to it, too. */
  async #fromHttp(message: Message): Promise<void> {
    await this.#taken(message);
    const { project, topic, payload } = message;
    if (!topic.startsWith('$'))
      await this.#listeners.broker?.publish(project, { topic, payload, qos: 0, retain: false });
  }

  #openFlow(stream: FeedStream, folder: string): Promise<Flow> {
    const { parts, logger } = this.#options;
    const { project } = stream;
    return parts.flow({
      ...{ stream, folder, logger, guests: this.#guests(), node: this.#local?.node ?? '' },
      filesFolder: join(this.#options.folder, 'files', project, stream.name),
      series: this.#series!,
      device: (name) => {
        const known = this.#directory.device(project, name);
        return known && { attributes: known.spec.attributes ?? {}, labels: known.labels };
      },
      publish: async (topic, payload) =>
        this.#listeners.broker?.publish(project, { topic, payload, qos: 1, retain: false }),
      toStream: (name, items) => this.#streams.send(project, name, items),
    });
  }

  #guests(): GuestEndpoints {
    return {
      of: (project, workload, port) =>
        (this.#local?.guests ?? []).filter(
          (one) =>
            one.project === project &&
            one.workload === workload &&
            (port === undefined || one.portName === port),
        ),
    };
  }

  #forget(project: string): void {
    rmSync(join(this.#options.folder, 'files', project), { recursive: true, force: true });
    this.#series?.remove(project).catch((error) => {
      this.#options.logger.warn({ err: error, project }, 'series of a project that is gone were not removed');
    });
  }

  /** Who is told other things now loses its connection: it proves itself anew. */
  #changed(changes: readonly Change[]): void {
    for (const change of changes) {
      const { before } = change;
      if (change.type === 'delete' && before?.kind === 'project') this.#forget(before.project);
      if (before?.kind !== 'device') continue;
      const identity: DeviceIdentity = { project: before.project, device: before.name };
      const after = change.type === 'put' && change.object.kind === 'device' ? change.object : undefined;
      if (!after || after.uid !== before.uid) this.#listeners.broker?.disconnect(identity, 'removed');
      else if (standingOf(before) !== standingOf(after))
        this.#listeners.broker?.disconnect(identity, 'rotated');
    }
    this.#reports.changed();
  }
}
