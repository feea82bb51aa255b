/**
 * The typed client: a method for each row of the route table, `client.workload.show({ project, name })`.
 * It keeps a few connections; close it when done. Errors are of the registry, `not_running` where nobody listens.
 */
import { asSkerryError } from '@skerry/model';
import { fromProblem } from '../problem.ts';
import { type RouteId, routeIds, routeOf } from '../routes.ts';
import type { WatchMessage } from '../streams.ts';
import { connectionError, type Endpoint, targetOf } from './endpoint.ts';
import type {
  JsonRouteId,
  LineRouteId,
  RouteInput,
  RouteOutput,
  SocketRouteId,
  Watched,
  WatchRouteId,
} from './input.ts';
import { linesOf } from './lines.ts';
import { openTerminal, type TerminalSession } from './terminal.ts';
import { type CallOptions, createTransport, type Loose, readJson } from './transport.ts';
import { watchRoute } from './watch.ts';

// Where nothing has to be given, the input may be left out.
type Arguments<I extends RouteId> =
  unknown extends RouteInput<I>
    ? [input?: Record<never, never>, options?: CallOptions]
    : Record<never, never> extends RouteInput<I>
      ? [input?: RouteInput<I>, options?: CallOptions]
      : [input: RouteInput<I>, options?: CallOptions];

type Method<I extends RouteId> = I extends LineRouteId
  ? (...args: Arguments<I>) => AsyncIterable<RouteOutput<I>>
  : I extends SocketRouteId
    ? (input: RouteInput<I>) => Promise<TerminalSession>
    : (...args: Arguments<I>) => Promise<RouteOutput<I>>;

type Groups = { [I in RouteId]: I extends `${infer G}.${string}` ? G : never }[RouteId];
type GroupMethods<G extends string> = {
  readonly [I in RouteId as I extends `${G}.${infer V}` ? V : never]: Method<I>;
};
type Nested = {
  readonly [I in RouteId as I extends `${string}.${string}` ? never : I]: Method<I>;
} & { readonly [G in Groups]: GroupMethods<G> };

export interface ClientCore {
  call<I extends JsonRouteId>(id: I, ...args: Arguments<I>): Promise<RouteOutput<I>>;
  /** A list that stays true; see WatchMessage. Ends by the signal. */
  watch<I extends WatchRouteId>(
    id: I,
    input: Omit<RouteInput<I>, 'watch' | 'limit' | 'cursor'>,
    options: { readonly signal: AbortSignal },
  ): AsyncIterable<WatchMessage<Watched[I]>>;
  close(): Promise<void>;
}
export type Client = ClientCore & Nested;

export interface ClientOptions {
  /** Connections at most; default 8. Each running stream holds one. */
  readonly connections?: number;
}

export function createClient(endpoint: Endpoint, options: ClientOptions = {}): Client {
  const target = targetOf(endpoint);
  const transport = createTransport(target, options.connections ?? 8);

  const call = async (id: RouteId, input: Loose = {}, callOptions: CallOptions = {}) => {
    const answer = await transport.send(id, input, callOptions, 'application/json');
    try {
      return await readJson(answer);
    } catch (error) {
      throw connectionError(error, target);
    }
  };
  async function* lines(id: RouteId, input: Loose = {}, callOptions: CallOptions = {}) {
    const answer = await transport.send(id, input, callOptions, 'application/x-ndjson');
    try {
      for await (const text of linesOf(answer.body)) {
        if (text === '') continue; // sent now and then to find dead listeners
        const value = JSON.parse(text);
        if (value.error) throw fromProblem(value.error, 500);
        yield value;
      }
    } catch (error) {
      if (callOptions.signal?.aborted) return;
      throw error instanceof SyntaxError ? asSkerryError(error) : connectionError(error, target);
    }
  }

  const client: Record<string, unknown> = {
    call,
    watch: (id: WatchRouteId, input: Loose, { signal }: { signal: AbortSignal }) =>
      watchRoute(transport, id, input, signal),
    close: () => transport.close(),
  };
  for (const id of routeIds()) {
    const { answer } = routeOf(id);
    const method =
      answer === 'json'
        ? call.bind(undefined, id)
        : answer === 'lines'
          ? lines.bind(undefined, id)
          : (input: Loose) => openTerminal(target, id, input);
    const [group, verb] = id.split('.') as [string, string | undefined];
    if (verb === undefined) client[group] = method;
    else client[group] = { ...(client[group] as object), [verb]: method };
  }
  return client as unknown as Client;
}
