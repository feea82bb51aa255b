/**
 * What every resource has in common. Schemas are TypeBox; they describe manifests as people write them
 * (human units stay text). Loaded by the controller, not by the CLI's start.
 */
import Type, { type TSchema } from 'typebox';
import { NAME_PATTERN } from '../ids.ts';

export const API_VERSION = 'skerry/v1';

export const closed = { additionalProperties: false } as const;

export const Name = Type.String({
  pattern: NAME_PATTERN,
  description: 'A DNS label: a-z, 0-9 and -, at most 63 characters',
});
export const Size = Type.String({
  pattern: '^\\d+(\\.\\d+)?\\s*(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$',
  description: 'A size with its unit, such as 64MiB',
});
export const Duration = Type.String({
  pattern: '^\\d+(\\.\\d+)?\\s*(us|ms|s|m|h|d)$',
  description: 'A duration with its unit, such as 5s',
});
export const Bandwidth = Type.String({
  pattern: '^\\d+(\\.\\d+)?\\s*(bit|kbit|Kbit|Mbit|Gbit|Tbit)$',
  description: 'A bandwidth with its unit, such as 100Mbit',
});
export const Labels = Type.Record(
  Type.String({ pattern: '^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$' }),
  Type.String({ maxLength: 256 }),
  closed,
);
export const Timestamp = Type.String({ description: 'RFC 3339, UTC, with milliseconds' });

/** What a manifest may say in `metadata`. */
export const ManifestMetadata = Type.Object(
  {
    name: Name,
    project: Type.Optional(Name),
    labels: Type.Optional(Labels),
    annotations: Type.Optional(Type.Record(Type.String(), Type.String())),
  },
  closed,
);

/** `metadata` of a stored resource. `generation` rises with each change of the spec, `revision` (the ETag) with each change. */
export const Metadata = Type.Object({
  name: Type.String(),
  project: Type.Optional(Type.String()),
  uid: Type.String(),
  labels: Labels,
  annotations: Type.Record(Type.String(), Type.String()),
  generation: Type.Integer(),
  revision: Type.Integer(),
  createdAt: Timestamp,
  updatedAt: Timestamp,
  /** Set once a delete was accepted; the resource goes when all that it owns is gone. */
  deletedAt: Type.Optional(Timestamp),
});

export const resource = <K extends string, S extends TSchema, T extends TSchema>(
  kind: K,
  spec: S,
  status: T,
) =>
  Type.Object({
    apiVersion: Type.Literal(API_VERSION),
    kind: Type.Literal(kind),
    metadata: Metadata,
    spec,
    status,
  });

export const manifest = <K extends string, S extends TSchema>(kind: K, spec: S) =>
  Type.Object(
    { apiVersion: Type.Literal(API_VERSION), kind: Type.Literal(kind), metadata: ManifestMetadata, spec },
    closed,
  );
