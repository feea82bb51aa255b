/** The OpenAPI 3.1 document, made of the route table and its schemas. The copy in openapi/ is held to it by a test. */
import { ERRORS } from '@skerry/model';
import * as model from '@skerry/model/schema';
import type { TObject } from 'typebox';
import { pathParameters, type RouteId, routeIds, routeOf } from '../routes.ts';
import * as answers from './answers.ts';
import { schemasOf } from './route-schemas.ts';

type Json = Record<string, unknown>;

const COMPONENTS: Record<string, object> = {
  ...pick(model, [
    'Project',
    'Workload',
    'WorkloadSpec',
    'Instance',
    'Image',
    'Volume',
    'Node',
    'Operation',
    'Event',
  ]),
  ...pick(model, ['ProjectManifest', 'WorkloadManifest', 'VolumeManifest', 'NodeManifest']),
  ...pick(answers, [
    'Problem',
    'ApplyResult',
    'Status',
    'Doctor',
    'FunctionRequest',
    'PullRequest',
    'Stats',
    'Line',
  ]),
};

function pick(from: object, names: readonly string[]): Record<string, object> {
  return Object.fromEntries(names.map((name) => [name, (from as Record<string, object>)[name]!]));
}

/** A copy of a schema in which what has a name is a reference to it. */
function linked(schema: unknown, self?: object): unknown {
  if (typeof schema !== 'object' || schema === null) return schema;
  if (schema !== self) {
    const name = Object.keys(COMPONENTS).find((key) => COMPONENTS[key] === schema);
    if (name) return { $ref: `#/components/schemas/${name}` };
  }
  if (Array.isArray(schema)) return schema.map((item) => linked(item));
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, linked(value)]));
}

function parameters(id: RouteId): Json[] {
  const { params, query } = schemasOf(id);
  const rows = (schema: TObject | undefined, where: 'path' | 'query') =>
    Object.entries(schema?.properties ?? {}).map(([name, type]) => ({
      name,
      in: where,
      required: where === 'path' || (schema!.required as string[] | undefined)?.includes(name) === true,
      schema: linked(type),
    }));
  const conditions = routeOf(id).conditional
    ? ['If-Match', 'If-None-Match'].map((name) => ({
        name,
        in: 'header',
        required: false,
        schema: { type: 'string' },
        description:
          name === 'If-Match'
            ? 'The ETag that the resource must have'
            : '`*`: there must be no such resource',
      }))
    : [];
  const named = new Set(pathParameters(id));
  return [
    ...rows(params, 'path').filter(({ name }) => named.has(name)),
    ...rows(query, 'query'),
    ...conditions,
  ];
}

const BODY_TYPE = {
  json: 'application/json',
  text: 'application/yaml',
  bytes: 'application/octet-stream',
} as const;

function operation(id: RouteId): Json {
  const route = routeOf(id);
  const { body, response } = schemasOf(id);
  const kind = route.method === 'PATCH' ? 'application/merge-patch+json' : BODY_TYPE[route.sends ?? 'json'];
  const content: Json = {};
  if (route.answer === 'json') content['application/json'] = { schema: linked(response) };
  if (route.answer === 'lines') content['application/x-ndjson'] = { schema: linked(response) };
  if (route.watch) content['text/event-stream'] = { schema: { type: 'string' } };
  const good = route.answer === 'socket' ? '101' : String(route.status ?? 200);
  return {
    operationId: id,
    summary: route.summary,
    tags: [id.split('.')[0]],
    parameters: parameters(id),
    ...(route.open && { security: [] }),
    ...((body || route.sends === 'bytes') && {
      requestBody: {
        required: true,
        content: { [kind]: { schema: body ? linked(body) : { type: 'string', format: 'binary' } } },
      },
    }),
    responses: {
      [good]: {
        description: route.answer === 'socket' ? 'A WebSocket' : 'Done',
        ...(Object.keys(content).length > 0 && { content }),
      },
      ...(route.method === 'PUT' && { 201: { description: 'Made', content } }),
      default: {
        description: 'It failed (RFC 9457)',
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    },
  };
}

export function openApi(): Json {
  const paths: Record<string, Json> = {};
  for (const id of routeIds()) {
    const { method, path } = routeOf(id);
    paths[path] = { ...paths[path], [method.toLowerCase()]: operation(id) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Skerry',
      version: 'v1',
      description: 'A small data centre for the edge of the network.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'Not asked for on the unix socket' },
      },
      schemas: Object.fromEntries(
        Object.entries(COMPONENTS).map(([name, schema]) => [name, linked(schema, schema)]),
      ),
    },
    'x-error-codes': ERRORS,
  };
}
