import { SkerryError } from '@skerry/model';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Harness, startHarness } from '../testing/harness.ts';
import { parseCsv } from './csv.ts';
import { cableLatencyUs, distanceKm } from './geometry.ts';

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness();
});
afterEach(() => harness.close());

const OPEN_CELL_ID = `radio,mcc,net,area,cell,unit,lon,lat,range,samples,changeable,created,updated,averageSignal
LTE,242,1,3101,20353,0,10.7522,59.9139,1000,12,1,1459813819,1459813819,0
GSM,242,2,"3102",7,,10.60,59.90,,,,,,
`;

test('a list of cells as OpenCelliD publishes it becomes towers, linked to the nearest site', async () => {
  await harness.client.site.put({
    name: 'oslo',
    body: {
      apiVersion: 'skerry/v1',
      kind: 'Site',
      metadata: { name: 'oslo' },
      spec: { location: { lat: 59.91, lon: 10.75 } },
    },
  });
  const result = await harness.client['access-network'].import({
    format: 'csv',
    nearestSite: true,
    body: OPEN_CELL_ID,
  });
  expect(result.documents.map(({ kind, name }) => `${kind} ${name}`)).toEqual([
    'AccessPoint lte-242-1-3101-20353',
    'AccessPoint gsm-242-2-3102-7',
    'Link lte-242-1-3101-20353-backhaul',
    'Link gsm-242-2-3102-7-backhaul',
  ]);
  const tower = await harness.client['access-point'].show({ name: 'lte-242-1-3101-20353' });
  expect(tower.spec).toEqual({ type: 'radio-tower', location: { lat: 59.9139, lon: 10.7522 } });
  const { items } = await harness.client.link.list();
  expect(items.map(({ spec }) => spec.between[1])).toEqual(['oslo', 'oslo']);
  const again = await harness.client['access-network'].import({
    format: 'csv',
    nearestSite: true,
    body: OPEN_CELL_ID,
  });
  expect(again.documents.every(({ outcome }) => outcome === 'unchanged')).toBe(true);
});

test('GeoJSON: points are access points and sites, lines are links whose latency follows from their length', async () => {
  const point = (properties: object, lon: number, lat: number) => ({
    type: 'Feature',
    properties,
    geometry: { type: 'Point', coordinates: [lon, lat] },
  });
  const body = JSON.stringify({
    type: 'FeatureCollection',
    features: [
      point({ kind: 'Site', name: 'Harbour' }, 10.7, 59.9),
      point({ name: 'Café Nord', type: 'wifi' }, 10.71, 59.91),
      {
        type: 'Feature',
        properties: { name: 'fibre', between: ['harbour', 'cafe-nord'] },
        geometry: {
          type: 'LineString',
          coordinates: [
            [10.7, 59.9],
            [10.71, 59.91],
          ],
        },
      },
    ],
  });
  const dry = await harness.client['access-network'].import({ format: 'geojson', body, dryRun: true });
  expect(dry.documents).toHaveLength(3);
  expect((await harness.client.link.list()).items).toEqual([]);
  await harness.client['access-network'].import({ format: 'geojson', body });
  const fibre = await harness.client.link.show({ name: 'fibre' });
  const km = distanceKm({ lat: 59.9, lon: 10.7 }, { lat: 59.91, lon: 10.71 });
  expect(km).toBeCloseTo(1.246, 2);
  expect(fibre.spec.latency).toBe(`${cableLatencyUs(km)}us`);
});

test.each([
  ['csv', 'name,lat\na,1\n', /line 2, lon/],
  ['csv', 'name,lat,lon\na,1,2\nb,100,3\n', /line 3.*100 is too large/],
  ['csv', 'name,type,lat,lon\na,mast,1,2\n', /line 2, spec.type.*types: router/],
  ['csv', 'name,lat,lon\na,1,2\na,1,3\n', /line 3.*listed twice/],
  ['csv', 'name,lat,lon\n"a,1,2\n', /never closed/],
  ['csv', 'name,lat,lon\na,1,2,3\n', /line 2.*4 fields/],
  ['csv', '', /titles/],
  ['csv', 'name,lat,lon\n', /nothing in the list/],
  ['geojson', '{"type":"Feature"}', /FeatureCollection/],
  ['geojson', '[', /JSON/],
  ['geojson', '{"type":"FeatureCollection","features":[null]}', /features\[0\]/],
] as const)(
  'a bad list is refused with its line, and nothing is made: %s %s',
  async (format, body, message) => {
    const error = await harness.client['access-network']
      .import({ format, body })
      .catch((one: unknown) => one);
    expect(error).toBeInstanceOf(SkerryError);
    expect((error as SkerryError).code).toBe('manifest_invalid');
    expect((error as SkerryError).message).toMatch(message);
    expect((await harness.client['access-point'].list()).items).toEqual([]);
  },
);

test('what was written as CSV is read back, whatever is in the fields', () => {
  const cell = fc.string({
    unit: fc.constantFrom('a', 'é', '"', ',', '\n', ' ', '1'),
    minLength: 1,
    maxLength: 6,
  });
  const quote = (text: string) => `"${text.replaceAll('"', '""')}"`;
  fc.assert(
    fc.property(fc.array(fc.tuple(cell, cell), { minLength: 1, maxLength: 5 }), (rows) => {
      const text = ['one,two', ...rows.map((row) => row.map(quote).join(','))].join('\r\n');
      const read = parseCsv(text).map(({ fields }) => [fields.one ?? '', fields.two ?? '']);
      expect(read).toEqual(rows.map((row) => row.map((value) => value.trim())));
    }),
  );
});
