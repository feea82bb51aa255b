/**
 * The device program, as the agent keeps it: begun when the edge has a device or a stream, begun again when it ends, fed,
 * heard and told of its node. It goes on without the agent, and the agent without the controller.
 *
 *   feed: controller -> program        report: program -> controller        questions: both ways
 */
import { isDeepStrictEqual } from 'node:util';
import type { ControllerLink, DeviceReport, HubCall, NodeLink } from '@skerry/contract';
import type { HubClient, Local, ReportLine } from '@skerry/devices/client';
import { asSkerryError, SkerryError } from '@skerry/model';
import { type Clock, pause, supervise } from '@skerry/reconcile';
import type { Logger } from '../ports.ts';
import { Feed } from './feed.ts';
import type { DeviceProgram } from './program.ts';

/** Changes of the node that come together are told together. */
const TELL_AFTER_MS = 200;

export interface DeviceServiceOptions {
  readonly node: string;
  readonly program: DeviceProgram;
  /** The node as it is now. */
  readonly local: () => Local;
  /** Makes sure of the certificate for devices; told again with `changed` when it is another one. */
  readonly certify: (link: ControllerLink, signal: AbortSignal) => Promise<void>;
  /** Its trouble is another one now. */
  readonly onTrouble: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
}

export class DeviceService {
  readonly #options: DeviceServiceOptions;
  readonly #feed: Feed;
  #isWanted = false;
  #client: HubClient | undefined;
  #link: ControllerLink | undefined;
  #linkEnd = new AbortController();
  /** Of the report that is being read. */
  #reading = new AbortController();
  #told: Local | undefined;
  #telling: (() => void) | undefined;
  #wake = () => {};
  #down: string | undefined;
  #troubles: readonly string[] = [];

  constructor(options: DeviceServiceOptions) {
    this.#options = options;
    this.#feed = new Feed({
      node: options.node,
      client: () => this.#client,
      wanted: (isWanted) => this.#want(isWanted),
    });
  }

  /** Why devices can not come in as they should; undefined where they can, or none is to. */
  get trouble(): string | undefined {
    if (!this.#isWanted) return undefined;
    return this.#down ?? (this.#troubles.length > 0 ? this.#troubles.join('; ') : undefined);
  }

  /** Goes on until the signal aborts; the program goes on then. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, program, logger } = this.#options;
    this.#isWanted = program.wasWanted();
    signal.addEventListener('abort', () => this.#wake(), { once: true });
    while (!signal.aborted) {
      if (!this.#isWanted) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      const unwanted = new AbortController();
      this.#wake = () => {
        if (!this.#isWanted) unwanted.abort();
      };
      await supervise({
        ...{ clock, random, signal: AbortSignal.any([signal, unwanted.signal]) },
        run: (up) => this.#keep(AbortSignal.any([signal, unwanted.signal]), up),
        onDown: (error, retryInMs) => {
          this.#setDown(error?.message ?? 'the device program has ended');
          logger.warn({ err: error, retryInMs }, 'the device program is begun again');
        },
      });
      if (signal.aborted) return;
      await program.retire().catch((error) => logger.warn({ err: error }, 'the device program did not end'));
      logger.info({}, 'no device and no stream: the device program has ended');
    }
  }

  attach(link: ControllerLink): void {
    if (!link.deviceFeed) return;
    this.#link = link;
    this.#listen(link);
    this.#reading.abort(); // from the beginning, for who listens now
  }

  detach(): void {
    this.#link = undefined;
    this.#linkEnd.abort();
  }

  /** What `local` answers may be another now. */
  changed(): void {
    if (this.#telling || !this.#client) return;
    this.#telling = this.#options.clock.after(TELL_AFTER_MS, () => {
      this.#telling = undefined;
      const client = this.#client;
      if (client)
        void this.#tell(client, AbortSignal.timeout(30_000)).catch((error) =>
          this.#options.logger.warn({ err: error }, 'the device program was not told of its node'),
        );
    });
  }

  /** Errors: unavailable where it does not run; those of the program. */
  call: NonNullable<NodeLink['hub']> = (call: HubCall, signal: AbortSignal) => {
    if (this.#client) return this.#client.call(call, signal);
    const why = this.#isWanted ? `the device program does not run: ${this.#down ?? 'it begins'}` : NOTHING;
    throw new SkerryError('unavailable', why);
  };

  close(): void {
    this.#telling?.();
    this.detach();
  }

  #listen(link: ControllerLink): void {
    this.#linkEnd.abort();
    this.#linkEnd = new AbortController();
    void this.#speak(link, this.#linkEnd.signal);
  }

  #want(isWanted: boolean): void {
    if (this.#isWanted === isWanted) return;
    this.#isWanted = isWanted;
    this.#wake();
  }

  /** Of one link: what it tells of devices goes to the program. Tried again for as long as the link is there. */
  async #speak(link: ControllerLink, signal: AbortSignal): Promise<void> {
    const { clock, random, logger, certify } = this.#options;
    await supervise({
      ...{ clock, random, signal },
      run: async (up) => {
        // without a device there is nobody to prove anything to
        if (this.#isWanted) await certify(link, signal);
        up();
        await this.#feed.run(link, signal).catch((error) => {
          if (asSkerryError(error).code !== 'unsupported') throw error;
        });
        // a controller that knows nothing of devices says no more
        await pause(clock, 3_600_000, signal);
      },
      onDown: (error, retryInMs) =>
        logger.info({ err: error, retryInMs }, 'devices are not told of by the controller'),
    });
  }

  /** The program, from its start to its end. */
  async #keep(signal: AbortSignal, up: () => void): Promise<void> {
    const client = await this.#options.program.ensure(signal);
    this.#told = undefined;
    try {
      await this.#tell(client, signal);
      this.#client = client;
      if (this.#link) this.#listen(this.#link); // from where it left off
      up();
      this.#setDown(undefined);
      while (!signal.aborted) {
        this.#reading = new AbortController();
        const until = AbortSignal.any([signal, this.#reading.signal]);
        for await (const line of client.report(until)) this.#hear(client, line, signal);
        if (!this.#reading.signal.aborted) return; // it has ended
      }
    } finally {
      this.#client = undefined;
    }
  }

  async #tell(client: HubClient, signal: AbortSignal): Promise<void> {
    const local = this.#options.local();
    if (isDeepStrictEqual(local, this.#told)) return;
    const troubles = await client.tell(local, signal);
    this.#told = local;
    const words = troubles.map(({ url, reason }) => `${url}: ${reason}`);
    if (isDeepStrictEqual(words, this.#troubles)) return;
    this.#troubles = words;
    this.#options.onTrouble();
  }

  #hear(client: HubClient, line: ReportLine, signal: AbortSignal): void {
    if ('ask' in line) void this.#relay(client, line.ask, signal);
    else void this.#pass(line.report);
  }

  /** What is lost with a session is told again when the next one begins. */
  async #pass(report: DeviceReport): Promise<void> {
    const { node, logger } = this.#options;
    await this.#link
      ?.devices?.(node, report)
      .catch((error) => logger.debug({ err: error }, 'a report of devices was lost with its session'));
  }

  async #relay(
    client: HubClient,
    { id, node: to, call }: Extract<ReportLine, { ask: unknown }>['ask'],
    signal: AbortSignal,
  ): Promise<void> {
    const { node, logger } = this.#options;
    let values: unknown[] | undefined;
    try {
      const answers = this.#link?.deviceCall?.(
        node,
        to,
        call,
        AbortSignal.any([signal, this.#linkEnd.signal]),
      );
      if (answers) {
        values = [];
        for await (const value of answers) values.push(value);
      }
    } catch (error) {
      values = undefined;
      logger.debug({ err: asSkerryError(error) }, 'another node could not be asked for a session');
    }
    await client.answer(id, values, signal).catch(() => undefined);
  }

  #setDown(reason: string | undefined): void {
    if (this.#down === reason) return;
    this.#down = reason;
    this.#options.onTrouble();
  }
}

const NOTHING = 'this node runs no device program: there is no device and no stream';
