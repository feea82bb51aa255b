/**
 * The access network: sites where nodes stand, access points where clients attach, links between them, and the clients.
 * They belong to no project: the network is the operator's, and every project's placement reads it.
 */
import Type, { type Static } from 'typebox';
import { NAME_PATTERN } from '../ids.ts';
import { Bandwidth, closed, Duration, manifest, Name, resource, Timestamp } from './shared.ts';

/** Degrees, WGS 84, as GeoJSON (RFC 7946) and base-station lists have them. */
export const Location = Type.Object(
  { lat: Type.Number({ minimum: -90, maximum: 90 }), lon: Type.Number({ minimum: -180, maximum: 180 }) },
  closed,
);
export type Location = Static<typeof Location>;

export const SiteSpec = Type.Object({ location: Type.Optional(Location) }, closed);
export const SiteManifest = manifest('Site', SiteSpec);
export const Site = resource(
  'Site',
  SiteSpec,
  Type.Object({
    nodes: Type.Array(Type.String()),
    accessPoints: Type.Integer({ description: 'Access points that stand at this site' }),
  }),
);
export type Site = Static<typeof Site>;

export const ACCESS_POINT_TYPES = ['router', 'radio-tower', 'small-cell', 'wifi', 'ethernet'] as const;
export const AccessPointSpec = Type.Object(
  {
    type: Type.Enum([...ACCESS_POINT_TYPES]),
    site: Type.Optional(
      Type.String({
        pattern: NAME_PATTERN,
        description: 'The site that it stands at: no way to go, unless a Link between the two says otherwise',
      }),
    ),
    location: Type.Optional(Location),
  },
  closed,
);
export const AccessPointManifest = manifest('AccessPoint', AccessPointSpec);
export const AccessPoint = resource(
  'AccessPoint',
  AccessPointSpec,
  Type.Object({
    clients: Type.Integer({ description: 'Clients that are attached' }),
    nearest: Type.Optional(
      Type.Object({ site: Type.String(), latencyMs: Type.Number({ description: 'One way' }) }),
    ),
  }),
);
export type AccessPoint = Static<typeof AccessPoint>;

export const LinkSpec = Type.Object(
  {
    between: Type.Array(Name, {
      minItems: 2,
      maxItems: 2,
      description: 'Two sites or access points, each by its name',
    }),
    latency: Duration,
    bandwidth: Type.Optional(Bandwidth),
    loss: Type.Optional(
      Type.Number({ minimum: 0, maximum: 1, description: 'The share of packets that are lost' }),
    ),
    down: Type.Optional(Type.Boolean({ description: 'It is there and carries nothing' })),
  },
  closed,
);
export const LinkManifest = manifest('Link', LinkSpec);
export const Link = resource('Link', LinkSpec, Type.Object({ up: Type.Boolean() }));
export type Link = Static<typeof Link>;

const Address = Type.String({
  maxLength: 45,
  pattern: '^[0-9a-fA-F.:]+$',
  description: 'An IPv4 or IPv6 address',
});
export const ClientSpec = Type.Object(
  {
    attachedTo: Type.Optional(
      Type.String({
        pattern: NAME_PATTERN,
        description: 'The access point that it comes through; absent: it is away',
      }),
    ),
    address: Type.Optional(Address),
    address6: Type.Optional(
      Type.String({
        maxLength: 45,
        pattern: '^[0-9a-fA-F.:]+$',
        description: 'An IPv6 address that it has beside the other one',
      }),
    ),
  },
  closed,
);
export const ClientManifest = manifest('Client', ClientSpec);
export const Client = resource(
  'Client',
  ClientSpec,
  Type.Object({
    attachedAt: Type.Optional(Timestamp),
    handovers: Type.Integer({ description: 'Changes of its access point so far' }),
    former: Type.Optional(
      Type.Array(Type.String(), {
        description:
          'Access points that it came through before, the latest first: connections that began there go on',
      }),
    ),
  }),
);
export type Client = Static<typeof Client>;
