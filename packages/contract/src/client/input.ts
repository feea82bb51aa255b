/** The types of the client's methods, derived from the route table. Nothing of it exists at run time. */
import type {
  Device,
  Event,
  Image,
  Instance,
  Node,
  Operation,
  Project,
  Stream,
  Volume,
  Workload,
} from '@skerry/model';
import type { Static, TSchema } from 'typebox';
import type { ROUTES, RouteId } from '../routes.ts';
import type { RouteSchemaTable } from '../schema/route-schemas.ts';

type Part<I extends RouteId, P extends string> = RouteSchemaTable[I] extends {
  readonly [K in P]: infer S extends TSchema;
}
  ? Static<S>
  : unknown;
type Row<I extends RouteId> = (typeof ROUTES)[I];

export type Bytes = Uint8Array | AsyncIterable<Uint8Array>;
type Body<I extends RouteId> =
  Row<I> extends { readonly sends: 'bytes' }
    ? { readonly body: Bytes; readonly lengthBytes?: number }
    : RouteSchemaTable[I] extends { readonly body: infer S extends TSchema }
      ? { readonly body: Static<S> }
      : unknown;
type Conditions<I extends RouteId> =
  Row<I> extends { readonly conditional: true }
    ? {
        /** A revision: only if the resource is still at it. */
        readonly ifMatch?: number;
        /** Only if there is no such resource. */
        readonly ifAbsent?: boolean;
      }
    : unknown;

/** Parameters of the path and of the query, the body, and conditions, in one flat object. */
export type RouteInput<I extends RouteId> = Part<I, 'params'> & Part<I, 'query'> & Body<I> & Conditions<I>;
export type RouteOutput<I extends RouteId> = Part<I, 'response'>;

export type JsonRouteId = { [I in RouteId]: Row<I>['answer'] extends 'json' ? I : never }[RouteId];
export type LineRouteId = { [I in RouteId]: Row<I>['answer'] extends 'lines' ? I : never }[RouteId];
export type SocketRouteId = { [I in RouteId]: Row<I>['answer'] extends 'socket' ? I : never }[RouteId];

/** What one message of a watch carries. */
export interface Watched {
  'project.list': Project;
  'workload.list': Workload;
  'instance.list': Instance;
  'image.list': Image;
  'volume.list': Volume;
  'node.list': Node;
  'device.list': Device;
  'stream.list': Stream;
  'operation.list': Operation;
  'event.list': Event;
}
export type WatchRouteId = keyof Watched;
