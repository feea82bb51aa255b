/** Why an instance is where it is, and why not elsewhere: every node with its latency and all that is in the way. */
import type { PlacementExplanation } from '@skerry/contract';
import { formatMillis, perSiteOf, SkerryError } from '@skerry/model';
import { type NodeVerdict, REASONS } from '@skerry/placement';
import type { Core } from '../core.ts';
import type { Draft } from '../state/draft.ts';
import { createDraft } from '../state/draft.ts';
import { volumesOf } from '../volumes/binding.ts';
import { type Asked, requestOf } from './request.ts';

/** Nodes that a plan names; the rest are counted. */
const NAMED_IN_PLAN = 12;

/** JSON has no infinity: absent means that it can not be reached. */
const reached = (ms: number) => (Number.isFinite(ms) ? ms : undefined);

function verdictOf(
  { node, site, fits, chosen, reasons, score, worstLatencyMs }: NodeVerdict,
  current?: string,
) {
  const latencyMs = reached(score.latencyMs);
  const worstMs = reached(worstLatencyMs);
  return {
    ...{ node, fits, chosen, current: node === current },
    ...(site !== '' && { site }),
    ...(latencyMs !== undefined && { latencyMs }),
    ...(worstMs !== undefined && { worstLatencyMs: worstMs }),
    reasons: reasons.map(({ code, text }) => ({ code, text, remedy: REASONS[code].remedy })),
  };
}

/** Errors: not_found. */
export function explainWorkload(
  core: Core,
  project: string,
  name: string,
  instance?: string,
): PlacementExplanation {
  const { view, placement } = core;
  const workload = view.get('workloads', project, name);
  if (!workload)
    throw new SkerryError('not_found', `there is no workload "${name}" in the project ${project}`);
  const own = view.instancesOf(project, name).sort((a, b) => a.spec.ordinal - b.spec.ordinal);
  const one = instance === undefined ? own[0] : own.find(({ metadata }) => metadata.name === instance);
  if (instance !== undefined && !one)
    throw new SkerryError('not_found', `the workload ${name} has no instance "${instance}"`);
  const draft = createDraft(view);
  const instanceName = one?.metadata.name ?? `${name}-0`;
  const { sites } = perSiteOf(workload.spec) ? workload.status : {};
  const site = one && sites?.find(({ ordinals }) => ordinals.includes(one.spec.ordinal))?.site;
  const request = requestOf(draft, view, {
    ...{ project, workload: name, name: instanceName, spec: workload.spec },
    ...(site !== undefined && { site }),
    ...volumesOf(draft, project, workload),
  });
  const { placement: answer, nodes } = placement.placer.explain(request);
  const node = one?.spec.node;
  return {
    instance: instanceName,
    ...(node !== undefined && { node }),
    near: request.near?.map(({ accessPoint, weight = 1 }) => ({ accessPoint, weight })) ?? [],
    ...(request.maxLatencyMs !== undefined && { maxLatencyMs: request.maxLatencyMs }),
    ...(sites && { sites }),
    text: answer.outcome === 'placed' ? wordsOf(answer.node, node, answer.ends.length) : answer.text,
    nodes: nodes.map((verdict) => verdictOf(verdict, node)),
  };
}

function wordsOf(best: string, current: string | undefined, ends: number): string {
  const room = ends > 0 ? ` (${ends} instances of less priority would end for it)` : '';
  if (current === undefined) return `it would go to ${best}${room}`;
  if (current === best) return `it is where it would be placed now: on ${best}`;
  return `it is on ${current}; placed now, it would go to ${best}${room}`;
}

/** The same for a plan, a line for each node. Errors: manifest_invalid. */
export function explainLines({ view, placement }: Core, draft: Draft, asked: Asked): string[] {
  const request = requestOf(draft, view, asked);
  if (request.near?.some(({ accessPoint }) => !placement.topology.has(accessPoint))) return [];
  const { nodes } = placement.placer.explain(request);
  // One node that will do leaves nothing to choose.
  if (nodes.length === 1 && nodes[0]!.fits) return [];
  const lines = nodes
    .slice(0, NAMED_IN_PLAN)
    .map(({ node, chosen, fits, reasons, score, worstLatencyMs }) => {
      if (!fits) return `not ${node}: ${reasons.map(({ text }) => text).join('; ')}`;
      const far = Number.isFinite(worstLatencyMs) ? formatMillis(score.latencyMs) : 'not reached by all';
      return `${chosen ? 'best' : 'also'} ${node}${request.near?.length ? `: ${far} away` : ''}`;
    });
  const more = nodes.length - lines.length;
  return more > 0 ? [...lines, `and ${more} more nodes`] : lines;
}
