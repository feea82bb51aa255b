/**
 * The agent's one connection to its controller, outbound, so that it works from behind NAT: a WebSocket over mutual TLS that
 * carries both links. Each session begins it anew; content comes over plain requests beside it.
 */
import { randomBytes } from 'node:crypto';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type {
  ControllerLink,
  DesiredState,
  DeviceReport,
  FeedItem,
  HubCall,
  LeaseGrant,
  LeaseRequest,
  Measurement,
  NodeLink,
  Peer,
  Sighting,
} from '@skerry/contract';
import { createPeer, fromProblem, remoteController, serveNode } from '@skerry/contract';
import type { ImageManifest, ImageSource } from '@skerry/images';
import { SkerryError } from '@skerry/model';
import type { Clock } from '@skerry/reconcile';
import { WebSocket } from 'ws';
import type { Logger } from '../ports.ts';
import {
  addressOf,
  type CredentialPlace,
  type Credentials,
  certificateRequest,
  readCredentials,
  renewInMs,
  writeCertificate,
} from './credentials.ts';
import { Pulse } from './pulse.ts';

type Certifying = NonNullable<ControllerLink['deviceCertificate']>;
type CertificateRequest = Parameters<Certifying>[1];
type DeviceCertificate = Awaited<ReturnType<Certifying>>;

const CONNECT_LIMIT_MS = 15_000;
const LARGEST_FRAME_BYTES = 64 * 1024 * 1024;
const MOST_BUFFERED_BYTES = 4 * 1024 * 1024;
/** A timer of more would overflow (setTimeout takes 2^31 - 1 ms). */
const LONGEST_TIMER_MS = 24 * 60 * 60 * 1000;

export interface ConnectionOptions {
  /** Where its credentials are kept. */
  readonly dataDir: CredentialPlace;
  readonly credentials: Credentials;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What the node goes by at present. */
  readonly known: () => DesiredState | undefined;
  /** What the controller asks the node on demand. */
  readonly node: () => NodeLink;
  /** Simulated nodes share a processor, and dial a few at a time. Default: at once. */
  readonly inTurn?: (dial: () => Promise<void>) => Promise<void>;
}

interface Open {
  readonly peer: Peer;
  readonly link: ControllerLink;
  readonly socket: WebSocket;
}

export class ControllerConnection implements ControllerLink {
  readonly #options: ConnectionOptions;
  /** Tells this process from another one with a copy of its data folder. */
  readonly #process = randomBytes(12).toString('base64url');
  #credentials: Credentials;
  #open: Open | undefined;
  #opening: Promise<Open> | undefined;
  #closed = false;
  #cancelRenewal = () => {};

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#credentials = options.credentials;
  }

  async register(report: Parameters<ControllerLink['register']>[0]): Promise<void> {
    await (await this.#connected()).link.register(report);
  }

  async *desired(node: string, signal: AbortSignal): AsyncGenerator<DesiredState> {
    yield* (await this.#connected()).link.desired(node, signal);
  }

  async report(node: string, observed: Parameters<ControllerLink['report']>[1]): Promise<void> {
    await (await this.#connected()).link.report(node, observed);
  }

  async measure(node: string, measurements: readonly Measurement[]): Promise<void> {
    await (await this.#connected()).link.measure(node, measurements);
  }

  async sighted(node: string, sightings: readonly Sighting[]): Promise<void> {
    await (await this.#connected()).link.sighted(node, sightings);
  }

  async lease(node: string, request: LeaseRequest): Promise<readonly LeaseGrant[]> {
    return (await this.#connected()).link.lease(node, request);
  }

  async *deviceFeed(node: string, since: number, signal: AbortSignal): AsyncGenerator<FeedItem> {
    yield* (await this.#connected()).link.deviceFeed?.(node, since, signal) ?? [];
  }

  async devices(node: string, report: DeviceReport): Promise<void> {
    await (await this.#connected()).link.devices?.(node, report);
  }

  async *deviceCall(node: string, to: string, call: HubCall, signal: AbortSignal): AsyncGenerator<unknown> {
    yield* (await this.#connected()).link.deviceCall?.(node, to, call, signal) ?? [];
  }

  async deviceCertificate(node: string, request: CertificateRequest): Promise<DeviceCertificate> {
    const made = (await this.#connected()).link.deviceCertificate?.(node, request);
    if (!made) throw new SkerryError('unsupported', 'this controller knows nothing of devices');
    return made;
  }

  close(): void {
    this.#closed = true;
    this.#cancelRenewal();
    this.#open?.socket.terminate();
  }

  /** Where images come from. */
  get images(): ImageSource {
    return {
      name: 'the controller',
      retryPauseMs: 500,
      manifest: async (digest, signal) => {
        const pieces: Buffer[] = [];
        const { body } = await this.#get(`images/${digest}`, {}, signal);
        for await (const piece of body as AsyncIterable<Buffer>) pieces.push(piece);
        return JSON.parse(Buffer.concat(pieces).toString()) as ImageManifest;
      },
      get: (path, headers) => this.#get(path, headers),
    };
  }

  #tls() {
    const { server, key, certificate, authority } = this.#credentials;
    return {
      ...addressOf(server),
      ...{ key, cert: certificate, ca: authority },
      // The authority signs servers of its controller only, under whichever name it is reached.
      checkServerIdentity: () => undefined,
    };
  }

  async #connected(): Promise<Open> {
    if (this.#open) return this.#open;
    const { inTurn } = this.#options;
    this.#opening ??= (inTurn ? this.#dialInTurn(inTurn) : this.#dial()).finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #dialInTurn(inTurn: NonNullable<ConnectionOptions['inTurn']>): Promise<Open> {
    let open: Open | undefined;
    await inTurn(async () => {
      open = await this.#dial();
    });
    return open!;
  }

  #dial(): Promise<Open> {
    const { server } = this.#credentials;
    const { logger, node, known } = this.#options;
    if (this.#closed) throw new SkerryError('cancelled', 'the agent is ending');
    const socket = new WebSocket(`wss://${server}/v1/agent/session`, {
      ...this.#tls(),
      ...{ handshakeTimeout: CONNECT_LIMIT_MS, maxPayload: LARGEST_FRAME_BYTES, perMessageDeflate: false },
      headers: { 'skerry-agent': this.#process },
    });
    const over = new AbortController();
    let pulse: Pulse | undefined;
    socket.on('pong', () => pulse?.heard());
    return new Promise((resolve, reject) => {
      const peer = createPeer(
        {
          send: (text) =>
            new Promise((sent, failed) => {
              pulse?.sent();
              const waits = socket.bufferedAmount > MOST_BUFFERED_BYTES;
              socket.send(text, (error) => (error ? failed(error) : sent()));
              if (!waits) sent();
            }),
          close: () => socket.close(),
        },
        serveNode(node(), over.signal),
      );
      const refused = (error: unknown) =>
        reject(
          error instanceof SkerryError
            ? error
            : new SkerryError(
                'unavailable',
                `no controller answers at ${server}: ${(error as Error).message}`,
                {
                  cause: error,
                },
              ),
        );
      socket.on('unexpected-response', (request, response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (piece: string) => {
          text += piece;
        });
        response.on('end', () => {
          request.destroy();
          refused(fromProblem(parseOr(text), response.statusCode ?? 500));
        });
      });
      socket.on('error', refused);
      socket.on('message', (data: Buffer, isBinary) => {
        pulse?.heard();
        if (!isBinary) peer.receive(data.toString());
      });
      socket.on('close', () => {
        pulse?.stop();
        over.abort();
        peer.lost();
        if (this.#open?.socket === socket) this.#open = undefined;
        refused(new SkerryError('unavailable', 'the controller ended the connection'));
      });
      socket.on('open', () => {
        if (this.#closed) return socket.terminate();
        pulse = new Pulse({
          clock: this.#options.clock,
          ping: () => socket.ping(),
          dead: () => socket.terminate(),
        });
        const open = { peer, socket, link: remoteController(peer, known) };
        this.#open = open;
        this.#renewLater();
        logger.info({ server }, 'connected to the controller');
        resolve(open);
      });
    });
  }

  #renewLater(): void {
    this.#cancelRenewal();
    const { clock } = this.#options;
    const inMs = renewInMs(this.#credentials.certificate, clock.nowMs());
    this.#cancelRenewal = clock.after(Math.min(inMs, LONGEST_TIMER_MS), () => {
      if (inMs > LONGEST_TIMER_MS) return this.#renewLater();
      void this.#renew();
    });
  }

  /** Tried again with the next connection, or in an hour, where it fails: a third of its life is left. */
  async #renew(): Promise<void> {
    const { dataDir, logger, clock } = this.#options;
    try {
      if (!this.#open) return;
      const request = await certificateRequest(dataDir);
      const certificate = await this.#open.peer.call<string>('renew', { request });
      writeCertificate(dataDir, certificate);
      this.#credentials = readCredentials(dataDir)!;
      logger.info({}, 'the certificate of the node was renewed');
      this.#renewLater();
    } catch (error) {
      logger.warn({ err: error }, 'the certificate of the node could not be renewed');
      if (!this.#closed) this.#cancelRenewal = clock.after(3_600_000, () => void this.#renew());
    }
  }

  #get(path: string, headers: Readonly<Record<string, string>>, signal?: AbortSignal) {
    return new Promise<Awaited<ReturnType<ImageSource['get']>>>((resolve, reject) => {
      const { server } = this.#credentials;
      const request = httpsRequest(
        {
          ...this.#tls(),
          ...{ path: `/v1/agent/${path}`, headers, agent: this.#agent, timeout: 60_000 },
          ...(signal ? { signal } : {}),
        },
        (response) => {
          const { statusCode = 500 } = response;
          if (statusCode < 400)
            return resolve({ statusCode, headers: response.headers, body: response } as never);
          let text = '';
          response.setEncoding('utf8').on('data', (piece: string) => {
            text += piece;
          });
          response.on('end', () => reject(fromProblem(parseOr(text), statusCode)));
        },
      );
      request.once('timeout', () => request.destroy(new Error('nothing came for 60 s')));
      request.once('error', (error) =>
        reject(
          new SkerryError('unavailable', `${server} could not be asked: ${error.message}`, { cause: error }),
        ),
      );
      request.end();
    });
  }

  readonly #agent = new HttpsAgent({ keepAlive: false, maxSockets: 6 });
}

function parseOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
