/** Takes a list of stations in: all of it in one transaction, or nothing. What is there already is changed. */
import type { ApplyResult } from '@skerry/contract';
import { manifestInvalid, type ParsedManifest } from '@skerry/contract/schema';
import type { Location } from '@skerry/model';
import type { Core } from '../core.ts';
import { applyManifests } from '../manifests/apply.ts';
import { cableLatencyUs, distanceKm } from './geometry.ts';
import { type Listed, listedInCsv, listedInGeoJson, MOST_LISTED } from './import-lists.ts';

export interface ImportOptions {
  readonly format: 'geojson' | 'csv';
  /** Links each access point that names no site to the nearest one, of the list or known before. */
  readonly nearestSite?: boolean;
}

/** Errors: manifest_invalid with the line. */
export async function importAccessNetwork(
  core: Core,
  text: string,
  options: ImportOptions,
  dryRun: boolean,
): Promise<ApplyResult> {
  const listed = options.format === 'csv' ? listedInCsv(text) : listedInGeoJson(text);
  if (listed.length === 0)
    throw manifestInvalid([{ line: 1, field: '', message: 'there is nothing in the list' }]);
  if (listed.length > MOST_LISTED)
    throw manifestInvalid([
      { line: 1, field: '', message: `has ${listed.length} entries: at most ${MOST_LISTED}` },
    ]);
  refuseTwins(listed);
  const all = options.nearestSite ? [...listed, ...linksToSites(core, listed)] : listed;
  return applyManifests(core, all.map(parsed), dryRun);
}

const parsed = ({ manifest, line }: Listed): ParsedManifest => ({ manifest, line, lineOf: () => line });

function refuseTwins(listed: readonly Listed[]): void {
  const lines = new Map<string, number>();
  for (const { manifest, line } of listed) {
    const { name } = manifest.metadata;
    const key = `${manifest.kind} ${name}`;
    const earlier = lines.get(key);
    if (earlier !== undefined) {
      const message = `"${name}" is listed twice: the first is on line ${earlier}`;
      throw manifestInvalid([{ line, field: 'metadata.name', message }]);
    }
    lines.set(key, line);
  }
}

function linksToSites({ view }: Core, listed: readonly Listed[]): Listed[] {
  const sites = new Map<string, Location>();
  for (const { metadata, spec } of view.all('sites'))
    if (spec.location) sites.set(metadata.name, spec.location);
  for (const { manifest } of listed)
    if (manifest.kind === 'Site' && manifest.spec.location)
      sites.set(manifest.metadata.name, manifest.spec.location);
  const links: Listed[] = [];
  for (const { manifest, line } of listed) {
    if (manifest.kind !== 'AccessPoint' || manifest.spec.site !== undefined || !manifest.spec.location)
      continue;
    const { location } = manifest.spec;
    let nearest: { site: string; km: number } | undefined;
    for (const [site, at] of sites) {
      const km = distanceKm(location, at);
      if (!nearest || km < nearest.km) nearest = { site, km };
    }
    if (!nearest) {
      const message = 'there is no site with a location that it could be linked to';
      throw manifestInvalid([{ line, field: 'spec.site', message }]);
    }
    const { name } = manifest.metadata;
    const spec = { between: [name, nearest.site], latency: `${cableLatencyUs(nearest.km)}us` };
    const link = {
      apiVersion: 'skerry/v1',
      kind: 'Link',
      metadata: { name: `${name.slice(0, 54)}-backhaul` },
      spec,
    };
    links.push({ manifest: link as Listed['manifest'], line });
  }
  return links;
}
