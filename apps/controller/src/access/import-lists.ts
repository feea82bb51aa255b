/**
 * Lists of stations as the public has them, to manifests: GeoJSON (points are access points or sites, lines with
 * `between` are links) and CSV (one access point or site a line; OpenCelliD's titles are known). Pure.
 */
import { checkManifest, fieldOf, manifestInvalid } from '@skerry/contract/schema';
import { ACCESS_POINT_TYPES } from '@skerry/model/schema';
import { parseCsv } from './csv.ts';
import { cableLatencyUs, distanceKm } from './geometry.ts';
import type { AccessManifest } from './kinds.ts';

export interface Listed {
  readonly manifest: AccessManifest;
  /** In the text; for GeoJSON 1, whose features are told by their number. */
  readonly line: number;
}

export const MOST_LISTED = 50_000;
/** Of mobile networks (3GPP); wireless stations that such lists hold are towers. */
const RADIOS = ['gsm', 'cdma', 'umts', 'lte', 'nr'];

/** Letters, digits and hyphens of what a list calls it, as a name may be. */
const nameFrom = (text: string): string =>
  text
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 63)
    .replace(/^-+|-+$/g, '');

type Words = Readonly<Record<string, unknown>>;
const textOf = (words: Words, ...titles: string[]): string | undefined => {
  for (const title of titles) {
    const value = words[title];
    if (typeof value === 'string' && value !== '') return value;
    if (typeof value === 'number') return String(value);
  }
  return undefined;
};

function nameOf(words: Words): string {
  const given = textOf(words, 'name', 'id', 'station', 'site_id');
  if (given !== undefined) return nameFrom(given);
  const cell = ['radio', 'mcc', 'mnc', 'net', 'lac', 'area', 'cellid', 'cell'].map((title) =>
    textOf(words, title),
  );
  return nameFrom(cell.filter((part) => part !== undefined).join('-'));
}

/** A site where the list says so, else an access point. */
function pointFrom(words: Words, location: { lat: number; lon: number }): object {
  const metadata = { name: nameOf(words) };
  const kind = textOf(words, 'kind');
  if (kind !== undefined && kind.toLowerCase() === 'site')
    return { apiVersion: 'skerry/v1', kind: 'Site', metadata, spec: { location } };
  const given = textOf(words, 'type');
  const radio = textOf(words, 'radio')?.toLowerCase();
  const type = given ?? (radio === undefined || RADIOS.includes(radio) ? 'radio-tower' : radio);
  const site = textOf(words, 'site');
  return {
    apiVersion: 'skerry/v1',
    kind: 'AccessPoint',
    metadata,
    spec: { type, ...(site !== undefined && { site }), location },
  };
}

function checked(value: object, line: number, where: string): Listed {
  const found = checkManifest(value);
  if (found.length === 0) return { manifest: value as AccessManifest, line };
  throw manifestInvalid(
    found.map(({ path, message }) => {
      const known = fieldOf(path) === 'spec.type' ? ` (types: ${ACCESS_POINT_TYPES.join(', ')})` : '';
      return { line, field: fieldOf(path), message: `${where}${message}${known}` };
    }),
  );
}

/** Errors: manifest_invalid with line and field. */
export function listedInCsv(text: string): Listed[] {
  return parseCsv(text).map(({ line, fields }) => {
    const degrees = (field: string, ...titles: string[]) => {
      const value = Number(textOf(fields, ...titles) ?? Number.NaN);
      if (Number.isFinite(value)) return value;
      throw manifestInvalid([
        { line, field, message: `is missing or no number (title: ${titles.join(' or ')})` },
      ]);
    };
    const location = {
      lat: degrees('lat', 'lat', 'latitude', 'y'),
      lon: degrees('lon', 'lon', 'lng', 'long', 'longitude', 'x'),
    };
    return checked(pointFrom(fields, location), line, '');
  });
}

interface Feature {
  readonly id?: unknown;
  readonly properties?: Words | null;
  readonly geometry?: { readonly type?: unknown; readonly coordinates?: unknown } | null;
}
type Position = readonly [number, number];

const isPosition = (value: unknown): value is Position =>
  Array.isArray(value) && typeof value[0] === 'number' && typeof value[1] === 'number';

function lengthKm(line: readonly Position[]): number {
  let km = 0;
  for (let at = 1; at < line.length; at++) {
    const [[lonA, latA], [lonB, latB]] = [line[at - 1]!, line[at]!];
    km += distanceKm({ lat: latA, lon: lonA }, { lat: latB, lon: lonB });
  }
  return km;
}

function linkFrom(words: Words, line: readonly Position[]): object {
  const between = Array.isArray(words.between) ? words.between : [words.from, words.to];
  const name = textOf(words, 'name', 'id') ?? between.join('--');
  const latency = textOf(words, 'latency') ?? `${cableLatencyUs(lengthKm(line))}us`;
  const bandwidth = textOf(words, 'bandwidth');
  const spec = { between, latency, ...(bandwidth !== undefined && { bandwidth }) };
  return { apiVersion: 'skerry/v1', kind: 'Link', metadata: { name: nameFrom(name) }, spec };
}

/** Errors: manifest_invalid that names the feature by its number, from 0. */
export function listedInGeoJson(text: string): Listed[] {
  let root: { type?: unknown; features?: unknown };
  try {
    root = JSON.parse(text) as typeof root;
  } catch (error) {
    throw manifestInvalid([
      { line: 1, field: '', message: `can not be read as JSON: ${(error as Error).message}` },
    ]);
  }
  if (root?.type !== 'FeatureCollection' || !Array.isArray(root.features))
    throw manifestInvalid([
      { line: 1, field: 'type', message: 'must be "FeatureCollection" with a list of features' },
    ]);
  return (root.features as (Feature | null)[]).map((feature, at) => {
    const where = `features[${at}]: `;
    const { type, coordinates } = feature?.geometry ?? {};
    const words: Words = { id: feature?.id, ...feature?.properties };
    if (type === 'Point' && isPosition(coordinates))
      return checked(pointFrom(words, { lat: coordinates[1], lon: coordinates[0] }), 1, where);
    if (type === 'LineString' && Array.isArray(coordinates) && coordinates.every(isPosition))
      return checked(linkFrom(words, coordinates), 1, where);
    const message = `features[${at}]: must be a Point or a LineString with its coordinates`;
    throw manifestInvalid([{ line: 1, field: 'geometry', message }]);
  });
}
