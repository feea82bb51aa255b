/**
 * The route table: one row per request that a controller answers. The server's routes, the OpenAPI document and the typed
 * client derive from it; the schemas of a row are in schema/route-schemas.ts under the same id, so that reading this file
 * loads no schema library. Route id = client method = command.
 */
import { ACCESS_ROUTES } from './access-routes.ts';
import { DEVICE_ROUTES } from './device-routes.ts';
import type { RouteDefinition } from './route-definition.ts';
import { SERIES_ROUTES } from './series-routes.ts';

export type { RouteDefinition } from './route-definition.ts';

const PROJECT = '/v1/projects/{project}';

export const ROUTES = {
  healthz: {
    method: 'GET',
    path: '/healthz',
    summary: 'Whether the controller answers',
    answer: 'json',
    open: true,
  },
  openapi: { method: 'GET', path: '/openapi.json', summary: 'This description', answer: 'json', open: true },
  status: {
    method: 'GET',
    path: '/v1/status',
    summary: 'The controller and what it looks after, in numbers',
    answer: 'json',
  },
  doctor: {
    method: 'GET',
    path: '/v1/doctor',
    summary: 'What works on each node and, where not, why and what to do',
    answer: 'json',
  },
  apply: {
    method: 'POST',
    path: '/v1/apply',
    summary:
      'Makes all resources of a manifest as described, or none; with dryRun, tells the steps it would take',
    answer: 'json',
    sends: 'text',
  },
  delete: {
    method: 'POST',
    path: '/v1/delete',
    summary: 'Deletes the resources that a manifest names',
    answer: 'json',
    sends: 'text',
  },

  'project.list': {
    method: 'GET',
    path: '/v1/projects',
    summary: 'Lists projects',
    answer: 'json',
    watch: true,
  },
  'project.show': { method: 'GET', path: PROJECT, summary: 'One project', answer: 'json' },
  'project.put': {
    method: 'PUT',
    path: PROJECT,
    summary: 'Makes or changes a project',
    answer: 'json',
    conditional: true,
  },
  'project.patch': {
    method: 'PATCH',
    path: PROJECT,
    summary: 'Changes a project by a JSON merge patch (RFC 7396)',
    answer: 'json',
    conditional: true,
  },
  'project.delete': {
    method: 'DELETE',
    path: PROJECT,
    summary: 'Deletes an empty project',
    answer: 'json',
    conditional: true,
  },

  'workload.list': {
    method: 'GET',
    path: `${PROJECT}/workloads`,
    summary: 'Lists workloads',
    answer: 'json',
    watch: true,
  },
  'workload.show': {
    method: 'GET',
    path: `${PROJECT}/workloads/{name}`,
    summary: 'One workload',
    answer: 'json',
  },
  'workload.put': {
    method: 'PUT',
    path: `${PROJECT}/workloads/{name}`,
    summary: 'Makes or changes a workload',
    answer: 'json',
    conditional: true,
  },
  'workload.patch': {
    method: 'PATCH',
    path: `${PROJECT}/workloads/{name}`,
    summary: 'Changes a workload by a JSON merge patch (RFC 7396)',
    answer: 'json',
    conditional: true,
  },
  'workload.delete': {
    method: 'DELETE',
    path: `${PROJECT}/workloads/{name}`,
    summary: 'Deletes a workload; it is gone when its instances are',
    answer: 'json',
    conditional: true,
  },
  'workload.start': {
    method: 'POST',
    path: `${PROJECT}/workloads/{name}/start`,
    summary: 'Starts the instances of a stopped workload',
    answer: 'json',
  },
  'workload.stop': {
    method: 'POST',
    path: `${PROJECT}/workloads/{name}/stop`,
    summary: 'Stops the instances; they keep what they have',
    answer: 'json',
  },
  'workload.restart': {
    method: 'POST',
    path: `${PROJECT}/workloads/{name}/restart`,
    summary: 'Restarts the instances, one after the other',
    answer: 'json',
  },
  'workload.explain': {
    method: 'GET',
    path: `${PROJECT}/workloads/{name}/explain`,
    summary: 'For every node why an instance is or would be placed there, or why not',
    answer: 'json',
  },
  'workload.logs': {
    method: 'GET',
    path: `${PROJECT}/workloads/{name}/logs`,
    summary: 'Log of one instance of a workload',
    answer: 'lines',
  },
  'workload.exec': {
    method: 'GET',
    path: `${PROJECT}/workloads/{name}/exec`,
    summary: 'Runs a command in one instance of a workload',
    answer: 'socket',
  },
  'workload.console': {
    method: 'GET',
    path: `${PROJECT}/workloads/{name}/console`,
    summary: 'Serial console of one instance of a workload',
    answer: 'socket',
  },

  'instance.list': {
    method: 'GET',
    path: `${PROJECT}/instances`,
    summary: 'Lists instances',
    answer: 'json',
    watch: true,
  },
  'instance.show': {
    method: 'GET',
    path: `${PROJECT}/instances/{name}`,
    summary: 'One instance',
    answer: 'json',
  },
  'instance.logs': {
    method: 'GET',
    path: `${PROJECT}/instances/{name}/logs`,
    summary: 'Log of an instance',
    answer: 'lines',
  },
  'instance.stats': {
    method: 'GET',
    path: `${PROJECT}/instances/{name}/stats`,
    summary: 'What an instance uses, measured now',
    answer: 'json',
  },
  'instance.exec': {
    method: 'GET',
    path: `${PROJECT}/instances/{name}/exec`,
    summary: 'Runs a command in an instance',
    answer: 'socket',
  },
  'instance.console': {
    method: 'GET',
    path: `${PROJECT}/instances/{name}/console`,
    summary: 'Serial console of an instance',
    answer: 'socket',
  },
  'instance.pause': {
    method: 'POST',
    path: `${PROJECT}/instances/{name}/pause`,
    summary: 'Lets a guest hold still; it keeps its memory',
    answer: 'json',
  },
  'instance.resume': {
    method: 'POST',
    path: `${PROJECT}/instances/{name}/resume`,
    summary: 'Lets a guest that holds still go on',
    answer: 'json',
  },
  'instance.snapshots': {
    method: 'GET',
    path: `${PROJECT}/instances/{name}/snapshots`,
    summary: 'What a guest can be put back to',
    answer: 'json',
  },
  'instance.snapshot': {
    method: 'POST',
    path: `${PROJECT}/instances/{name}/snapshots`,
    summary: 'Keeps the disk of a guest, and its memory where it runs, under a name',
    answer: 'json',
    status: 201,
  },
  'instance.restore': {
    method: 'POST',
    path: `${PROJECT}/instances/{name}/snapshots/{snapshot}/restore`,
    summary: 'Puts a guest back to a snapshot; what came after is lost',
    answer: 'json',
  },
  'instance.forget': {
    method: 'DELETE',
    path: `${PROJECT}/instances/{name}/snapshots/{snapshot}`,
    summary: 'Deletes a snapshot of a guest',
    answer: 'json',
  },
  'instance.grow': {
    method: 'POST',
    path: `${PROJECT}/instances/{name}/grow`,
    summary: 'Makes the disk of a guest larger, while it runs too; it never shrinks',
    answer: 'json',
  },
  'instance.memory': {
    method: 'POST',
    path: `${PROJECT}/instances/{name}/memory`,
    summary: 'What a running guest may use of its memory; the rest goes back to the node',
    answer: 'json',
  },
  'instance.display': {
    method: 'GET',
    path: `${PROJECT}/instances/{name}/display`,
    summary: 'Where the screen of a guest is to be seen, on its node',
    answer: 'json',
  },
  'instance.screenshot': {
    method: 'GET',
    path: `${PROJECT}/instances/{name}/screenshot`,
    summary: 'The screen of a guest as it is now',
    answer: 'json',
  },

  'image.list': {
    method: 'GET',
    path: `${PROJECT}/images`,
    summary: 'Lists images',
    answer: 'json',
    watch: true,
  },
  'image.show': { method: 'GET', path: `${PROJECT}/images/{name}`, summary: 'One image', answer: 'json' },
  'image.import': {
    method: 'POST',
    path: `${PROJECT}/images/import`,
    summary:
      'Takes a disk, an ISO image, a root file system, a container archive (docker save, OCI), an OCI layout as an archive, a unikernel, a Linux kernel or an initramfs; which it is, its content tells',
    answer: 'json',
    sends: 'bytes',
    status: 201,
  },
  'image.pull': {
    method: 'POST',
    path: `${PROJECT}/images/pull`,
    summary: 'Fetches an image from a registry',
    answer: 'json',
    status: 202,
  },
  'image.build': {
    method: 'POST',
    path: `${PROJECT}/images/build`,
    summary: 'Makes an image of a JavaScript or TypeScript function, for workloads with runtime unikernel',
    answer: 'json',
    status: 201,
  },
  'image.delete': {
    method: 'DELETE',
    path: `${PROJECT}/images/{name}`,
    summary: 'Forgets an image and frees what no other image needs',
    answer: 'json',
    conditional: true,
  },

  'volume.list': {
    method: 'GET',
    path: `${PROJECT}/volumes`,
    summary: 'Lists volumes',
    answer: 'json',
    watch: true,
  },
  'volume.show': { method: 'GET', path: `${PROJECT}/volumes/{name}`, summary: 'One volume', answer: 'json' },
  'volume.put': {
    method: 'PUT',
    path: `${PROJECT}/volumes/{name}`,
    summary: 'Makes or enlarges a volume',
    answer: 'json',
    conditional: true,
  },
  'volume.delete': {
    method: 'DELETE',
    path: `${PROJECT}/volumes/{name}`,
    summary: 'Deletes a volume and its data',
    answer: 'json',
    conditional: true,
  },

  'function.create': {
    method: 'POST',
    path: `${PROJECT}/functions`,
    summary: 'Makes a workload of a JavaScript or TypeScript function, each instance its own kernel',
    answer: 'json',
    status: 201,
  },
  'function.list': {
    method: 'GET',
    path: `${PROJECT}/functions`,
    summary: 'Lists the workloads that are functions',
    answer: 'json',
  },

  'node.list': { method: 'GET', path: '/v1/nodes', summary: 'Lists nodes', answer: 'json', watch: true },
  'node.show': { method: 'GET', path: '/v1/nodes/{name}', summary: 'One node', answer: 'json' },
  'node.patch': {
    method: 'PATCH',
    path: '/v1/nodes/{name}',
    summary: 'Changes a node: whether it takes new instances',
    answer: 'json',
    conditional: true,
  },
  'node.drain': {
    method: 'POST',
    path: '/v1/nodes/{name}/drain',
    summary: 'Moves the instances of a node away, where another one takes them',
    answer: 'json',
  },
  'node.undrain': {
    method: 'POST',
    path: '/v1/nodes/{name}/undrain',
    summary: 'Lets a node take instances again',
    answer: 'json',
  },
  'node.delete': {
    method: 'DELETE',
    path: '/v1/nodes/{name}',
    summary:
      'Takes a node out: its certificate is good for nothing any more, its instances are started elsewhere',
    answer: 'json',
  },
  'node.token': {
    method: 'POST',
    path: '/v1/node-tokens',
    summary: 'Makes a token with which one machine can join',
    answer: 'json',
    status: 201,
  },
  'node.tokens': {
    method: 'GET',
    path: '/v1/node-tokens',
    summary: 'Lists tokens that are still good, without their secrets',
    answer: 'json',
  },
  'node.revoke': {
    method: 'DELETE',
    path: '/v1/node-tokens/{id}',
    summary: 'Takes a token back',
    answer: 'json',
  },
  'node.join': {
    method: 'POST',
    path: '/v1/join',
    summary: 'Spends a token: the certificate of a node, for the key of the request',
    answer: 'json',
    status: 201,
    open: true,
  },

  ...ACCESS_ROUTES,
  ...DEVICE_ROUTES,

  'operation.list': {
    method: 'GET',
    path: '/v1/operations',
    summary: 'Lists operations',
    answer: 'json',
    watch: true,
  },
  'operation.show': {
    method: 'GET',
    path: '/v1/operations/{name}',
    summary: 'One operation',
    answer: 'json',
  },
  'operation.cancel': {
    method: 'POST',
    path: '/v1/operations/{name}/cancel',
    summary: 'Cancels an operation',
    answer: 'json',
  },

  ...SERIES_ROUTES,

  'event.list': {
    method: 'GET',
    path: '/v1/events',
    summary: 'What happened, in order, from a sequence number on',
    answer: 'json',
    watch: true,
  },
} as const satisfies Record<string, RouteDefinition>;

export type RouteId = keyof typeof ROUTES;
export const routeIds = (): RouteId[] => Object.keys(ROUTES) as RouteId[];
export const routeOf = (id: RouteId): RouteDefinition => ROUTES[id];

/** The path of a route with its parameters put in, each percent-encoded. */
export function routePath(id: RouteId, input: Readonly<Record<string, unknown>>): string {
  return ROUTES[id].path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(input[name])));
}

/** The names of the parameters in the path of a route. */
export const pathParameters = (id: RouteId): string[] =>
  [...ROUTES[id].path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]!);
