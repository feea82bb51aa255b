/** What the hub is put together from: each is made by a folder of its own, and by a fake in tests. */
import type { FeedStream, HubCall } from '@skerry/contract';
import type { Item } from '../message.ts';
import type { Broker, BrokerHooks, BrokerListen, Flow, GuestEndpoints, Sink } from '../ports.ts';

export interface Logger {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}

export interface TlsPaths {
  readonly keyPath: string;
  readonly certificatePath: string;
}

export interface BrokerRequest {
  /** Sessions, retained messages. */
  readonly folder: string;
  readonly node: string;
  readonly hooks: BrokerHooks;
  readonly listen: readonly BrokerListen[];
  /** Certificates of clients are asked for and judged by `authenticate`. */
  readonly tls?: TlsPaths;
  readonly logger: Logger;
}

export interface FlowRequest {
  readonly stream: FeedStream;
  readonly node: string;
  /** Of this stream alone: buffer, queues, checkpoints. */
  readonly folder: string;
  /** Of the node: where file sinks write. */
  readonly filesFolder: string;
  /** Of the node, for series sinks. */
  readonly series: SeriesPart;
  /** Attributes and labels of a device of the stream's project. */
  readonly device: (name: string) =>
    | {
        readonly attributes: Readonly<Record<string, unknown>>;
        readonly labels: Readonly<Record<string, string>>;
      }
    | undefined;
  readonly guests: GuestEndpoints;
  /** To devices of the project: dead letters. */
  readonly publish: (topic: string, payload: Uint8Array) => Promise<void>;
  /** Into another stream of the project. Resolves when it is durable there; rejects where there is none. */
  readonly toStream: (name: string, items: readonly Item[]) => Promise<void>;
  readonly logger: Logger;
}

export interface SeriesPart {
  sink(
    project: string,
    name: string,
    options: { readonly fields?: readonly string[] | undefined; readonly retentionMs?: number | undefined },
  ): Sink;
  /** Answers the verbs of series. */
  call(call: Extract<HubCall, { verb: `series-${string}` }>, signal: AbortSignal): AsyncIterable<unknown>;
  /** A project that is no more: nothing of it stays. */
  remove(project: string): Promise<void>;
  close(): Promise<void>;
}

export interface HubParts {
  /** Not started. */
  broker(request: BrokerRequest): Promise<Broker>;
  flow(request: FlowRequest): Promise<Flow>;
  series(folder: string, logger: Logger): Promise<SeriesPart>;
}
