/** What the requests about time series take and give. */
import { type AGGREGATES, Duration, Timestamp } from '@skerry/model/schema';
import Type from 'typebox';

const Many = (description: string) =>
  Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 512 }), { maxItems: 1000, description }));
const node = Type.Optional(
  Type.String({ maxLength: 63, description: 'Only what this node keeps; absent: all that are connected' }),
);

/** Those of a window that a stored level can answer. */
export const SERIES_AGGREGATES = [
  'mean',
  'min',
  'max',
  'sum',
  'count',
  'last',
] as const satisfies readonly (typeof AGGREGATES)[number][];

export const SeriesNodeQuery = { node };
export const SeriesRangeQuery = {
  from: Type.Optional(Timestamp),
  to: Type.Optional(Timestamp),
  device: Many('Repeated: only of these devices'),
  field: Many('Repeated: only these fields'),
  step: Type.Optional(Duration),
  aggregate: Type.Optional(
    Type.Enum([...SERIES_AGGREGATES], { description: 'Of all points in a step; mean where absent' }),
  ),
  node,
};
export const SeriesPoint = Type.Object({
  device: Type.String(),
  field: Type.String(),
  at: Timestamp,
  value: Type.Number(),
});
export const SeriesListed = Type.Object({
  name: Type.String(),
  nodes: Type.Array(Type.String()),
  devices: Type.Integer({ description: 'At each node, added up' }),
  fields: Type.Array(Type.String()),
  points: Type.Integer({ description: 'Those of which only sums are left included' }),
  from: Timestamp,
  to: Timestamp,
  bytes: Type.Integer({ description: 'On the disks of the nodes' }),
});
export const SeriesList = Type.Object({
  items: Type.Array(SeriesListed),
  silent: Type.Array(Type.String(), { description: 'Nodes that did not answer, or take no devices' }),
});
export const SeriesPiece = Type.Object({
  data: Type.String({ description: 'Base64 of a piece of the file' }),
});
