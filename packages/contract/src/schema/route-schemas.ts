/** What each route takes and gives, under the ids of the route table. */
import {
  AccessPoint,
  AccessPointManifest,
  Client,
  ClientManifest,
  Device,
  DeviceManifest,
  Image,
  Instance,
  Link,
  LinkManifest,
  Node,
  Operation,
  Project,
  ProjectManifest,
  Site,
  SiteManifest,
  Size,
  Stream,
  StreamManifest,
  Volume,
  VolumeManifest,
  Workload,
  WorkloadManifest,
} from '@skerry/model/schema';
import Type, { type TObject, type TSchema } from 'typebox';
import type { RouteId } from '../routes.ts';
import * as A from './answers.ts';
import * as D from './device-answers.ts';
import * as S from './series.ts';

export interface RouteSchemas {
  readonly params?: TObject;
  readonly query?: TObject;
  readonly body?: TSchema;
  /** Absent for sockets. For lines: of one line. */
  readonly response?: TSchema;
}

const closed = { additionalProperties: false } as const;
// What is stored was checked when it was accepted: parameters are bounded here and else looked up as they are.
const Segment = Type.String({ minLength: 1, maxLength: 512 });
const InProject = Type.Object({ project: Segment }, closed);
const Named = Type.Object({ name: Segment }, closed);
const NamedInProject = Type.Object({ project: Segment, name: Segment }, closed);
const SnapshotName = Type.String({ pattern: '^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$' });
const SnapshotOfInstance = Type.Object({ project: Segment, name: Segment, snapshot: SnapshotName }, closed);

const page = {
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, description: 'Default 500' })),
  cursor: Type.Optional(Type.String({ maxLength: 2048 })),
  selector: Type.Optional(
    Type.String({ maxLength: 1024, description: 'Labels: `app=web,tier!=test,canary,!old`' }),
  ),
};
const watch = {
  watch: Type.Optional(Type.Boolean()),
  since: Type.Optional(Type.Integer({ minimum: 0, description: 'A revision: only what changed after it' })),
};
const ListQuery = Type.Object({ ...page, ...watch }, closed);
const InstanceListQuery = Type.Object(
  { ...page, ...watch, workload: Type.Optional(Type.String({ maxLength: 63 })) },
  closed,
);
const EventQuery = Type.Object(
  {
    limit: page.limit,
    watch: watch.watch,
    since: Type.Optional(
      Type.Integer({ minimum: 0, description: 'A sequence number: only events after it' }),
    ),
    project: Type.Optional(Type.String({ maxLength: 63 })),
    kind: Type.Optional(Type.String({ maxLength: 63 })),
    name: Type.Optional(Type.String({ maxLength: 512 })),
  },
  closed,
);
const LogQuery = {
  tail: Type.Optional(Type.Integer({ minimum: 0, maximum: 100_000 })),
  follow: Type.Optional(Type.Boolean()),
  sinceMs: Type.Optional(Type.Number({ minimum: 0, description: 'Milliseconds since the epoch' })),
  previous: Type.Optional(
    Type.Boolean({ description: 'Of the run before this one; nothing where there was none; ends by itself' }),
  ),
};
const ExecQuery = {
  command: Type.Array(Type.String({ maxLength: 131_072 }), {
    minItems: 1,
    maxItems: 256,
    description: 'Repeated: one for each word',
  }),
  terminal: Type.Optional(Type.Boolean()),
  columns: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000 })),
  rows: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000 })),
};
const ofInstance = {
  instance: Type.Optional(
    Type.String({ maxLength: 63, description: 'Which one; the first that runs where absent' }),
  ),
};
const ManifestQuery = {
  project: Type.Optional(
    Type.String({ maxLength: 63, description: 'Of documents that name none; default `default`' }),
  ),
};
const ManifestText = Type.String({ description: 'YAML or JSON, several documents if need be' });
const Patch = Type.Object({}, { additionalProperties: true, description: 'A JSON merge patch (RFC 7396)' });
const Empty = Type.Object({}, closed);

export const ROUTE_SCHEMAS = {
  healthz: { response: Type.Object({ status: Type.Literal('ok') }) },
  openapi: { response: Type.Object({}, { additionalProperties: true }) },
  status: { response: A.Status },
  doctor: {
    query: Type.Object(
      {
        fresh: Type.Optional(Type.Boolean({ description: 'Probe now, rather than what was last reported' })),
      },
      closed,
    ),
    response: A.Doctor,
  },
  apply: {
    query: Type.Object({ ...ManifestQuery, dryRun: Type.Optional(Type.Boolean()) }, closed),
    body: ManifestText,
    response: A.ApplyResult,
  },
  delete: { query: Type.Object(ManifestQuery, closed), body: ManifestText, response: A.ApplyResult },

  'project.list': { query: ListQuery, response: A.ProjectList },
  'project.show': { params: InProject, response: Project },
  'project.put': { params: InProject, body: ProjectManifest, response: Project },
  'project.patch': { params: InProject, body: Patch, response: Project },
  'project.delete': { params: InProject, response: Project },

  'workload.list': { params: InProject, query: ListQuery, response: A.WorkloadList },
  'workload.show': { params: NamedInProject, response: Workload },
  'workload.put': { params: NamedInProject, body: WorkloadManifest, response: Workload },
  'workload.patch': { params: NamedInProject, body: Patch, response: Workload },
  'workload.delete': { params: NamedInProject, response: Workload },
  'workload.start': { params: NamedInProject, response: Workload },
  'workload.stop': { params: NamedInProject, response: Workload },
  'workload.restart': { params: NamedInProject, response: Workload },
  'workload.explain': {
    params: NamedInProject,
    query: Type.Object(ofInstance, closed),
    response: A.PlacementExplanation,
  },
  'workload.logs': {
    params: NamedInProject,
    query: Type.Object({ ...LogQuery, ...ofInstance }, closed),
    response: A.Line,
  },
  'workload.exec': { params: NamedInProject, query: Type.Object({ ...ExecQuery, ...ofInstance }, closed) },
  'workload.console': { params: NamedInProject, query: Type.Object(ofInstance, closed) },

  'instance.list': { params: InProject, query: InstanceListQuery, response: A.InstanceList },
  'instance.show': { params: NamedInProject, response: Instance },
  'instance.logs': { params: NamedInProject, query: Type.Object(LogQuery, closed), response: A.Line },
  'instance.stats': { params: NamedInProject, response: A.Stats },
  'instance.exec': { params: NamedInProject, query: Type.Object(ExecQuery, closed) },
  'instance.console': { params: NamedInProject, query: Empty },
  'instance.pause': { params: NamedInProject, response: A.Done },
  'instance.resume': { params: NamedInProject, response: A.Done },
  'instance.snapshots': { params: NamedInProject, response: A.SnapshotList },
  'instance.snapshot': {
    params: NamedInProject,
    body: Type.Object({ name: SnapshotName }, closed),
    response: A.Snapshot,
  },
  'instance.restore': { params: SnapshotOfInstance, response: A.Done },
  'instance.forget': { params: SnapshotOfInstance, response: A.Done },
  'instance.grow': {
    params: NamedInProject,
    body: Type.Object({ disk: Size }, closed),
    response: A.Done,
  },
  'instance.memory': {
    params: NamedInProject,
    body: Type.Object({ memory: Size }, closed),
    response: A.Done,
  },
  'instance.display': { params: NamedInProject, response: A.Display },
  'instance.screenshot': { params: NamedInProject, response: A.Screenshot },

  'image.list': { params: InProject, query: ListQuery, response: A.ImageList },
  'image.show': { params: NamedInProject, response: Image },
  'image.import': {
    params: InProject,
    query: Type.Object({ reference: Type.Optional(Type.String({ maxLength: 512 })) }, closed),
    response: Type.Object({ items: Type.Array(Image) }),
  },
  'image.pull': { params: InProject, body: A.PullRequest, response: Operation },
  'image.build': { params: InProject, body: A.BuildRequest, response: Image },
  'image.delete': {
    params: NamedInProject,
    response: Type.Object({ reference: Type.String(), freedBytes: Type.Integer() }),
  },

  'volume.list': { params: InProject, query: ListQuery, response: A.VolumeList },
  'volume.show': { params: NamedInProject, response: Volume },
  'volume.put': { params: NamedInProject, body: VolumeManifest, response: Volume },
  'volume.delete': { params: NamedInProject, response: Volume },

  'function.create': { params: InProject, body: A.FunctionRequest, response: Workload },
  'function.list': { params: InProject, response: A.WorkloadList },

  'node.list': { query: ListQuery, response: A.NodeList },
  'node.show': { params: Named, response: Node },
  'node.patch': { params: Named, body: Patch, response: Node },
  'node.drain': { params: Named, response: Node },
  'node.undrain': { params: Named, response: Node },
  'node.delete': {
    params: Named,
    query: Type.Object({ force: Type.Optional(Type.Boolean()) }, closed),
    response: Node,
  },
  'node.token': { body: A.NodeTokenRequest, response: A.NodeTokenMade },
  'node.tokens': { response: A.NodeTokenList },
  'node.revoke': { params: Type.Object({ id: Segment }, closed), response: A.NodeTokenRevoked },
  'node.join': { body: A.JoinRequest, response: A.Joined },

  'latency.list': { response: A.LatencyList },
  'rebalance.plan': { response: A.Rebalance },
  'rebalance.apply': { response: A.Rebalance },
  'access-network.import': {
    query: Type.Object(
      {
        format: Type.Enum(['geojson', 'csv']),
        dryRun: Type.Optional(Type.Boolean()),
        nearestSite: Type.Optional(
          Type.Boolean({ description: 'Links each access point that names no site to the nearest one' }),
        ),
      },
      closed,
    ),
    body: Type.String({ description: 'GeoJSON (RFC 7946) or CSV with a line of titles' }),
    response: A.ApplyResult,
  },
  'site.list': { query: ListQuery, response: A.SiteList },
  'site.show': { params: Named, response: Site },
  'site.put': { params: Named, body: SiteManifest, response: Site },
  'site.patch': { params: Named, body: Patch, response: Site },
  'site.delete': { params: Named, response: Site },

  'access-point.list': { query: ListQuery, response: A.AccessPointList },
  'access-point.show': { params: Named, response: AccessPoint },
  'access-point.put': { params: Named, body: AccessPointManifest, response: AccessPoint },
  'access-point.patch': { params: Named, body: Patch, response: AccessPoint },
  'access-point.delete': { params: Named, response: AccessPoint },

  'link.list': { query: ListQuery, response: A.LinkList },
  'link.show': { params: Named, response: Link },
  'link.put': { params: Named, body: LinkManifest, response: Link },
  'link.patch': { params: Named, body: Patch, response: Link },
  'link.delete': { params: Named, response: Link },

  'client.list': { query: ListQuery, response: A.ClientList },
  'client.show': { params: Named, response: Client },
  'client.put': { params: Named, body: ClientManifest, response: Client },
  'client.patch': { params: Named, body: Patch, response: Client },
  'client.delete': { params: Named, response: Client },

  'device.list': { params: InProject, query: ListQuery, response: A.DeviceList },
  'device.show': { params: NamedInProject, response: Device },
  'device.create': { params: InProject, body: D.DeviceRequest, response: D.DeviceMade },
  'device.put': { params: NamedInProject, body: DeviceManifest, response: Device },
  'device.patch': { params: NamedInProject, body: Patch, response: Device },
  'device.delete': { params: NamedInProject, response: Device },
  'device.rotate': { params: NamedInProject, body: D.RotateRequest, response: D.DeviceMade },
  'device.shadow': { params: NamedInProject, response: D.Shadow },
  'device.desire': { params: NamedInProject, body: Patch, response: D.Shadow },

  'stream.list': { params: InProject, query: ListQuery, response: A.StreamList },
  'stream.show': { params: NamedInProject, response: Stream },
  'stream.put': { params: NamedInProject, body: StreamManifest, response: Stream },
  'stream.patch': { params: NamedInProject, body: Patch, response: Stream },
  'stream.delete': { params: NamedInProject, response: Stream },
  'stream.tail': { params: NamedInProject, response: D.Tail },

  'operation.list': { query: ListQuery, response: A.OperationList },
  'operation.show': { params: Named, response: Operation },
  'operation.cancel': { params: Named, response: Operation },

  'series.list': {
    params: InProject,
    query: Type.Object(S.SeriesNodeQuery, closed),
    response: S.SeriesList,
  },
  'series.points': {
    params: NamedInProject,
    query: Type.Object(
      { ...S.SeriesRangeQuery, limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000_000 })) },
      closed,
    ),
    response: S.SeriesPoint,
  },
  'series.last': {
    params: NamedInProject,
    query: Type.Object(S.SeriesNodeQuery, closed),
    response: S.SeriesPoint,
  },
  'series.export': {
    params: NamedInProject,
    query: Type.Object(
      { ...S.SeriesRangeQuery, format: Type.Optional(Type.Enum(['csv', 'parquet'])) },
      closed,
    ),
    response: S.SeriesPiece,
  },
  'event.list': { query: EventQuery, response: A.EventList },
} as const satisfies Record<RouteId, RouteSchemas>;
export type RouteSchemaTable = typeof ROUTE_SCHEMAS;

export const schemasOf = (id: RouteId): RouteSchemas => ROUTE_SCHEMAS[id];
