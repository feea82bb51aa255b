/** The part of the route table that is about time series, which the nodes keep. */
import type { RouteDefinition } from './route-definition.ts';

const SERIES = '/v1/projects/{project}/series';

export const SERIES_ROUTES = {
  'series.list': {
    method: 'GET',
    path: SERIES,
    summary: 'Time series of a project, over all nodes or of one',
    answer: 'json',
  },
  'series.points': {
    method: 'GET',
    path: `${SERIES}/{name}/points`,
    summary: 'Points of a series in order of time, or one per step of time',
    answer: 'lines',
  },
  'series.last': {
    method: 'GET',
    path: `${SERIES}/{name}/last`,
    summary: 'The newest point of each device and field',
    answer: 'lines',
  },
  'series.export': {
    method: 'GET',
    path: `${SERIES}/{name}/export`,
    summary: 'A series as a CSV or Parquet file, in pieces as base64',
    answer: 'lines',
  },
} as const satisfies Record<string, RouteDefinition>;
