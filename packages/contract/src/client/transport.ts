/** Requests over undici: a pool of connections to one controller. Answers above 399 become errors. */
import { SkerryError } from '@skerry/model';
import { type Dispatcher, Pool } from 'undici';
import { fromProblem } from '../problem.ts';
import { pathParameters, type RouteId, routeOf, routePath } from '../routes.ts';
import { connectionError, type Target } from './endpoint.ts';
import type { Bytes } from './input.ts';

export type Loose = Readonly<Record<string, unknown>>;
export interface CallOptions {
  readonly signal?: AbortSignal;
}
export interface Answer {
  readonly status: number;
  readonly body: Dispatcher.ResponseData['body'];
}

export interface Transport {
  readonly target: Target;
  send(id: RouteId, input: Loose, options: CallOptions, accept: string): Promise<Answer>;
  close(): Promise<void>;
}

const RESERVED = new Set(['body', 'ifMatch', 'ifAbsent', 'lengthBytes']);

/** Path and query of a route; values that are undefined are left out, lists are repeated. */
export function requestPath(id: RouteId, input: Loose): string {
  const inPath = new Set(pathParameters(id));
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(input)) {
    if (RESERVED.has(name) || inPath.has(name) || value === undefined) continue;
    for (const item of Array.isArray(value) ? value : [value]) query.append(name, String(item));
  }
  const text = query.toString();
  return routePath(id, input) + (text && `?${text}`);
}

function headersOf(id: RouteId, input: Loose, target: Target, accept: string): Record<string, string> {
  const headers: Record<string, string> = { ...target.headers, accept };
  const route = routeOf(id);
  if (input.body !== undefined) {
    if (route.sends === 'bytes') headers['content-type'] = 'application/octet-stream';
    else if (route.sends === 'text')
      headers['content-type'] = /^\s*[{[]/.test(String(input.body)) ? 'application/json' : 'application/yaml';
    else
      headers['content-type'] =
        route.method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
  }
  if (input.lengthBytes !== undefined) headers['content-length'] = String(input.lengthBytes);
  if (input.ifMatch !== undefined) headers['if-match'] = `"${input.ifMatch}"`;
  if (input.ifAbsent === true) headers['if-none-match'] = '*';
  return headers;
}

export function createTransport(target: Target, connections: number): Transport {
  // Streams (logs, watches) last: no limit between two pieces; a dead peer shows by its closed socket.
  const pool = new Pool(target.origin, {
    connections,
    connect: target.connect,
    bodyTimeout: 0,
    headersTimeout: 0,
  });
  return {
    target,
    close: () => pool.destroy(),
    async send(id, input, options, accept) {
      const route = routeOf(id);
      const plain = route.sends === 'bytes' || route.sends === 'text';
      const body =
        input.body === undefined ? null : plain ? (input.body as string | Bytes) : JSON.stringify(input.body);
      try {
        const response = await pool.request({
          method: route.method,
          path: requestPath(id, input),
          headers: headersOf(id, input, target, accept),
          body: body as Dispatcher.RequestOptions['body'] as string,
          ...(options.signal && { signal: options.signal }),
        });
        if (response.statusCode < 400) return { status: response.statusCode, body: response.body };
        const text = await response.body.text();
        throw fromProblem(parseJson(text), response.statusCode);
      } catch (error) {
        throw connectionError(error, target);
      }
    },
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The whole body as JSON. Errors: unavailable where it is none. */
export async function readJson(answer: Answer): Promise<unknown> {
  const text = await answer.body.text();
  const value = parseJson(text);
  if (value === undefined)
    throw new SkerryError('unavailable', 'the server answered with something that is not JSON');
  return value;
}
