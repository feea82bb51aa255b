/** What a feature gives for each route: a function of the checked input, without a word of HTTP. */

import type { Readable } from 'node:stream';
import type {
  JsonRouteId,
  LineRouteId,
  RouteId,
  RouteInput,
  RouteOutput,
  SocketRouteId,
} from '@skerry/contract';
import type { Conditions } from './conditions.ts';

export interface RequestContext {
  readonly conditions: Conditions;
  /** Aborted when the caller has gone. */
  readonly signal: AbortSignal;
  /** The body where the route sends bytes. */
  readonly stream: Readable | undefined;
  /** The revision that the caller has of what it reads (If-None-Match). */
  readonly known: number | undefined;
  /** Last-Event-ID of a resumed event stream. */
  readonly lastEventId: string | undefined;
}

/** One server-sent event. */
export interface StreamEvent {
  readonly event: 'put' | 'delete' | 'synced';
  readonly id: number;
  /** JSON. */
  readonly data: string;
}

export type Reply<T> =
  | { readonly body: T; readonly status?: number; readonly revision?: number }
  /** JSON that was made already. */
  | { readonly text: string; readonly revision: number }
  | { readonly events: AsyncIterable<StreamEvent> };

type Input<I extends RouteId> = Omit<RouteInput<I>, 'ifMatch' | 'ifAbsent'>;
export type JsonHandler<I extends JsonRouteId> = (
  input: Input<I>,
  context: RequestContext,
) => Promise<Reply<RouteOutput<I>>>;
export type LineHandler<I extends LineRouteId> = (
  input: Input<I>,
  context: RequestContext,
) => AsyncIterable<RouteOutput<I>>;

/** Both ends of a terminal, as the socket carries them. */
export interface Terminal {
  readonly output: AsyncIterable<{ readonly stream: 'stdout' | 'stderr'; readonly data: Uint8Array }>;
  write(data: Uint8Array): Promise<void>;
  closeInput(): Promise<void>;
  resize(columns: number, rows: number): Promise<void>;
  readonly exit: Promise<number>;
  kill(): Promise<void>;
}
export type SocketHandler<I extends SocketRouteId> = (
  input: Input<I>,
  signal: AbortSignal,
) => Promise<Terminal>;

export type Handlers = { readonly [I in JsonRouteId]: JsonHandler<I> } & {
  readonly [I in LineRouteId]: LineHandler<I>;
} & {
  readonly [I in SocketRouteId]: SocketHandler<I>;
};
export type HandlersOf<G extends string> = {
  readonly [I in RouteId as I extends `${G}.${string}` ? I : never]: Handlers[I];
};
