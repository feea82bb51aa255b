/** The routes of the table as a fastify application: input checked, conditions read, errors as problem documents. */
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { type RouteId, routeIds, routeOf, toProblem } from '@skerry/contract';
import { asSkerryError, SkerryError } from '@skerry/model';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Callers } from '../auth/callers.ts';
import type { Logger } from '../logger.ts';
import type { Turns } from '../turns.ts';
import { limitOf, parseJson, readText } from './body.ts';
import { etag, parseConditions } from './conditions.ts';
import type { Handlers, Reply, RequestContext } from './handlers.ts';
import { readInput } from './input.ts';
import { EVENTS, LINES, writeStream } from './streams.ts';

const PROBLEM = 'application/problem+json; charset=utf-8';
const JSON_TYPE = 'application/json; charset=utf-8';

type AnyHandler = (
  input: unknown,
  context: RequestContext,
) => Promise<Reply<unknown>> | AsyncIterable<unknown>;

export function createApplication(
  handlers: Handlers,
  callers: Callers,
  turns: Turns,
  logger: Logger,
): FastifyInstance {
  const app = Fastify({
    logger: false,
    exposeHeadRoutes: false,
    // The parser below has its own limits.
    bodyLimit: Number.MAX_SAFE_INTEGER,
    requestTimeout: 0,
    keepAliveTimeout: 72_000,
    routerOptions: { maxParamLength: 2048 },
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => fail(error, request, reply as FastifyReply),
  });

  const fail = (thrown: unknown, request: FastifyRequest, reply: FastifyReply) => {
    const error = translate(thrown);
    if (error.code === 'internal') {
      logger.error(
        { err: thrown, method: request.method, path: request.url.split('?')[0] },
        'a request failed',
      );
    }
    const problem = toProblem(error);
    // What is left of a body that was refused is not read.
    if (error.code === 'payload_too_large') reply.header('connection', 'close');
    if (problem.status === 401) reply.header('www-authenticate', 'Bearer');
    return reply.code(problem.status).type(PROBLEM).send(JSON.stringify(problem));
  };
  app.setErrorHandler(fail);
  app.setNotFoundHandler((request, reply) =>
    fail(
      new SkerryError(
        'not_found',
        `${request.method} ${request.url.split('?')[0]} is no request that is known here`,
      ),
      request,
      reply,
    ),
  );

  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (request, payload, done) => {
    const { sends } = request.routeOptions.config as { sends?: 'text' | 'bytes' };
    if (sends === 'bytes') return done(null, payload);
    readText(request.raw, payload as Readable, limitOf(sends)).then(
      (text) => {
        try {
          done(null, sends === 'text' ? text : parseJson(text));
        } catch (error) {
          done(error as Error);
        }
      },
      (error: Error) => done(error),
    );
  });

  for (const id of routeIds()) {
    const route = routeOf(id);
    if (route.answer === 'socket') continue;
    const handler = handlers[id as 'status'] as unknown as AnyHandler;
    app.route({
      method: route.method,
      url: route.path.replace(/\{(\w+)\}/g, ':$1'),
      config: { sends: route.sends },
      onRequest: (request, _reply, done) => {
        try {
          if (!route.open) callers.admit(request.raw);
          if (route.method === 'GET') done();
          else turns.do('requests', () => done());
        } catch (error) {
          done(error as Error);
        }
      },
      handler: async (request, reply) => {
        const context = contextOf(id, request, reply);
        const input = readInput(
          id,
          request.params as object as Record<string, unknown>,
          request.query as Record<string, unknown>,
          request.body instanceof Readable ? undefined : request.body,
        );
        if (route.answer === 'lines') {
          return stream(reply, handler(input, context) as AsyncIterable<unknown>, LINES, context);
        }
        const answer = await (handler(input, context) as Promise<Reply<unknown>>);
        if ('events' in answer) return stream(reply, answer.events, EVENTS, context);
        return send(reply, answer, context, route.status ?? 200);
      },
    });
  }

  const stream: <T>(
    reply: FastifyReply,
    items: AsyncIterable<T>,
    format: typeof LINES | typeof EVENTS,
    context: RequestContext,
  ) => Promise<FastifyReply> = async (reply, items, format, context) => {
    await writeStream(reply.raw, items, format as typeof LINES, context.signal, (error) => {
      if (asSkerryError(error).code === 'internal') logger.error({ err: error }, 'a stream broke');
    });
    return reply.hijack();
  };
  return app;
}

function send(
  reply: FastifyReply,
  answer: Exclude<Reply<unknown>, { events: unknown }>,
  context: RequestContext,
  status: number,
): FastifyReply {
  const revision = answer.revision;
  if (revision !== undefined) {
    reply.header('etag', etag(revision));
    if (context.known === revision) return reply.code(304).send();
  }
  reply.type(JSON_TYPE);
  if ('text' in answer) return reply.code(200).send(answer.text);
  return reply.code(answer.status ?? status).send(JSON.stringify(answer.body));
}

function contextOf(id: RouteId, { raw, headers, body }: FastifyRequest, reply: FastifyReply): RequestContext {
  const route = routeOf(id);
  let abort: AbortController | undefined;
  const known = route.method === 'GET' ? /^(?:W\/)?"(\d+)"$/.exec(headers['if-none-match'] ?? '') : null;
  return {
    conditions: route.conditional ? parseConditions(headers) : {},
    // Most requests never ask for it.
    get signal() {
      if (!abort) {
        abort = new AbortController();
        const response: ServerResponse = reply.raw;
        response.once('close', () => abort!.abort());
        if (raw.destroyed && response.destroyed) abort.abort();
      }
      return abort.signal;
    },
    stream: body instanceof Readable ? body : undefined,
    known: known ? Number(known[1]) : undefined,
    lastEventId: /^\d+$/.test(String(headers['last-event-id'] ?? ''))
      ? String(headers['last-event-id'])
      : undefined,
  };
}

/** The framework's own refusals in words of the registry. */
function translate(thrown: unknown): SkerryError {
  const { code, statusCode, message } = thrown as { code?: string; statusCode?: number; message?: string };
  if (thrown instanceof SkerryError) return thrown;
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE')
    return new SkerryError('payload_too_large', 'the body is too large', { cause: thrown });
  if (code?.startsWith('FST_') && statusCode !== undefined && statusCode < 500) {
    return new SkerryError('request_invalid', message ?? 'the request is not valid', { cause: thrown });
  }
  return asSkerryError(thrown);
}
