/**
 * A lab file's text to a checked description: one Lab, and documents of every kind that the API knows. Every error names its
 * line; what must be true between documents is checked here too, so that nothing is begun that can not be finished. Pure.
 */
import { isIPv4 } from 'node:net';
import {
  type AccessPointManifest,
  type AnyManifest,
  type ClientManifest,
  KINDS,
  type LinkManifest,
  manifestInvalid,
  type ParsedManifest,
  parseManifests,
  type SiteManifest,
} from '@skerry/contract/schema';
import { LabManifest, type LabSpec } from './schema.ts';

const KINDS_OF_A_LAB = { ...KINDS, Lab: { schema: LabManifest, inProject: false } };
/** Each is a network namespace and takes part in every change of routes. */
const MOST_ROUTERS = 64;
const MOST_CLIENTS = 128;
const MOST_LINKS = 256;

export interface LabFile {
  readonly name: string;
  readonly spec: LabSpec;
  readonly sites: readonly SiteManifest[];
  readonly accessPoints: readonly AccessPointManifest[];
  readonly links: readonly LinkManifest[];
  readonly clients: readonly ClientManifest[];
  /** All other documents, as they are. */
  readonly others: readonly AnyManifest[];
}

interface Problem {
  readonly line: number;
  readonly field: string;
  readonly message: string;
}

/** The name of the controller's machine: no node may have it. */
export const CONTROLLER = 'controller';

/** Errors: manifest_invalid with all that is wrong, each with its line. */
export function parseLabFile(text: string): LabFile {
  const documents = parseManifests(text, { kinds: KINDS_OF_A_LAB });
  const ofKind = <M>(kind: string) =>
    documents
      .filter(({ manifest }) => (manifest.kind as string) === kind)
      .map(({ manifest }) => manifest as M);
  const problems: Problem[] = [];
  const labs = documents.filter(({ manifest }) => (manifest.kind as string) === 'Lab');
  for (const { lineOf } of labs.slice(1))
    problems.push({
      line: lineOf('kind'),
      field: 'kind',
      message: 'a lab file has one Lab, and this is a second',
    });
  const lab = labs[0]?.manifest as unknown as LabManifest | undefined;
  if (!lab)
    throw manifestInvalid([
      { line: 1, field: '', message: 'there is no document of kind Lab: it says where the nodes stand' },
    ]);
  const file: LabFile = {
    name: lab.metadata.name,
    spec: lab.spec,
    sites: ofKind('Site'),
    accessPoints: ofKind('AccessPoint'),
    links: ofKind('Link'),
    clients: ofKind('Client'),
    others: documents
      .map(({ manifest }) => manifest)
      .filter(({ kind }) => !['Lab', 'Site', 'AccessPoint', 'Link', 'Client'].includes(kind as string)),
  };
  for (const document of documents) problems.push(...problemsOf(document, file));
  if (problems.length > 0) throw manifestInvalid(problems.sort((a, b) => a.line - b.line));
  return file;
}

function problemsOf({ manifest, lineOf }: ParsedManifest, file: LabFile): Problem[] {
  const found: Problem[] = [];
  const refuse = (field: string, message: string) => found.push({ line: lineOf(field), field, message });
  const sites = new Set(file.sites.map(({ metadata }) => metadata.name));
  const points = new Set(file.accessPoints.map(({ metadata }) => metadata.name));
  const needSite = (field: string, name: string | undefined) => {
    if (name !== undefined && !sites.has(name)) refuse(field, `there is no Site "${name}" in this file`);
  };
  const needPoint = (field: string, name: string | undefined) => {
    if (name !== undefined && !points.has(name))
      refuse(field, `there is no AccessPoint "${name}" in this file`);
  };
  switch (manifest.kind as string) {
    case 'Lab': {
      const { spec } = manifest as unknown as LabManifest;
      needSite('spec.controller.site', spec.controller.site);
      const names = new Set<string>([CONTROLLER]);
      for (const [index, { name, site }] of spec.nodes.entries()) {
        needSite(`spec.nodes[${index}].site`, site);
        if (names.has(name)) refuse(`spec.nodes[${index}].name`, `the name "${name}" is taken`);
        names.add(name);
      }
      for (const [index, image] of (spec.images ?? []).entries()) {
        if ((image.file === undefined) === (image.function === undefined))
          refuse(`spec.images[${index}]`, 'is of a `file` or of a `function`, one of the two');
        else if (image.function !== undefined && image.name === undefined)
          refuse(`spec.images[${index}]`, 'an image of a function needs a `name`');
      }
      if (sites.size + points.size > MOST_ROUTERS)
        refuse('spec', `a lab has at most ${MOST_ROUTERS} sites and access points`);
      if (file.links.length > MOST_LINKS) refuse('spec', `a lab has at most ${MOST_LINKS} links`);
      if (file.clients.length > MOST_CLIENTS) refuse('spec', `a lab has at most ${MOST_CLIENTS} clients`);
      break;
    }
    case 'AccessPoint': {
      const { metadata, spec } = manifest as AccessPointManifest;
      if (sites.has(metadata.name))
        refuse('metadata.name', `there is a Site "${metadata.name}": links name both`);
      needSite('spec.site', spec.site);
      break;
    }
    case 'Link':
      for (const [index, name] of (manifest as LinkManifest).spec.between.entries())
        if (!sites.has(name) && !points.has(name))
          refuse(`spec.between[${index}]`, `there is no Site and no AccessPoint "${name}" in this file`);
      break;
    case 'Client': {
      const { spec } = manifest as ClientManifest;
      needPoint('spec.attachedTo', spec.attachedTo);
      if (spec.address !== undefined && !isIPv4(spec.address))
        refuse('spec.address', `"${spec.address}" is no IPv4 address: those of a lab are`);
      if (spec.address6 !== undefined)
        refuse('spec.address6', 'of a client of a lab it follows from that of IPv4: leave it out');
      const twins = file.clients.filter((other) => other.spec.address === spec.address);
      if (spec.address !== undefined && twins.length > 1)
        refuse('spec.address', `two clients have the address ${spec.address}`);
      break;
    }
  }
  return found;
}
