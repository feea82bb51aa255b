/**
 * What agents measured: round trips to each other and to attached clients, the newest of each pair. In memory alone: after a
 * restart agents tell again. Of a client at an access point and the site of a node it corrects the model of placement.
 */
import type { Latency, Measurement } from '@skerry/contract';
import type { Topology } from '@skerry/placement';
import type { Clock } from '../clock.ts';
import type { NewEvent } from '../events/event-log.ts';
import type { View } from '../state/view.ts';

/** Agents tell each minute; older than this, nobody measures any more. */
const KEPT_MS = 300_000;

interface Kept extends Measurement {
  /** Monotonic. */
  readonly measuredAtMs: number;
}

export interface Measured {
  take(node: string, measurements: readonly Measurement[]): void;
  /** Modelled and measured side by side. */
  list(): Latency[];
}

/** Slower than the model by so much is worth an event; by less than the second pair, it is as modelled again. */
const DEVIATES = { times: 1.5, andMs: 1 };
const RETURNS = { times: 1.2, andMs: 0.5 };

export function createMeasured(
  view: View,
  topology: Topology,
  clock: Clock,
  tell: (event: NewEvent) => void,
): Measured {
  const byNode = new Map<string, Map<string, Kept>>();
  /** Pairs of nodes, `a b`, that are farther from each other than the model says. */
  const deviating = new Set<string>();

  /** Two nodes that measure each other are one pair. */
  const compare = (from: string, to: string, measuredMs: number) => {
    const modelled = modelledMs(siteOf(from), siteOf(to));
    if (modelled === undefined) return;
    const [a, b] = [from, to].sort();
    const pair = `${a} ${b}`;
    const over = ({ times, andMs }: typeof DEVIATES) => measuredMs > modelled * times + andMs;
    const about = { kind: 'Node', name: a! };
    const words = `from ${a} to ${b}: ${measuredMs.toFixed(1)} ms measured, ${modelled.toFixed(1)} ms by the model`;
    if (!deviating.has(pair) && over(DEVIATES)) {
      deviating.add(pair);
      tell({
        type: 'warning',
        reason: 'FartherThanModelled',
        message: `${words}: a link may be down, or slow`,
        about,
      });
    } else if (deviating.has(pair) && !over(RETURNS)) {
      deviating.delete(pair);
      tell({ type: 'normal', reason: 'AsModelled', message: words, about });
    }
  };
  view.onChange(({ collection, before, after }) => {
    if (collection === 'nodes' && before && !after)
      byNode.delete((before as { metadata: { name: string } }).metadata.name);
  });

  /** One way, by the model; undefined where it knows no way. */
  const modelledMs = (from: string | undefined, to: string | undefined): number | undefined => {
    if (from === undefined || to === undefined || !topology.has(from) || topology.kindOf(to) !== 'site')
      return undefined;
    const ms = topology.distance(from, to).modelledMs;
    return Number.isFinite(ms) ? ms : undefined;
  };
  const siteOf = (node: string) => view.get('nodes', node)?.spec.site;

  return {
    take(node, measurements) {
      const known = byNode.get(node) ?? new Map<string, Kept>();
      byNode.set(node, known);
      const nowMs = clock.monotonicMs();
      for (const one of measurements) {
        known.set(`${one.kind} ${one.name}`, { ...one, measuredAtMs: nowMs - one.ageMs });
        if (one.kind === 'node') compare(node, one.name, one.medianUs / 2000);
        const accessPoint =
          one.kind === 'client' ? view.get('clients', one.name)?.spec.attachedTo : undefined;
        const site = siteOf(node);
        if (accessPoint === undefined || site === undefined) continue;
        if (topology.kindOf(accessPoint) === 'access-point' && topology.kindOf(site) === 'site')
          topology.measured(accessPoint, site, one.medianUs / 1000, nowMs - one.ageMs);
      }
      topology.forget(nowMs - KEPT_MS);
    },
    list() {
      const nowMs = clock.monotonicMs();
      const found: Latency[] = [];
      for (const [from, known] of byNode) {
        for (const [key, one] of known) {
          const ageMs = Math.round(nowMs - one.measuredAtMs);
          if (ageMs > KEPT_MS) {
            known.delete(key);
            continue;
          }
          const { kind, name: to, by = 'icmp', medianUs, leastUs, lossShare } = one;
          const place = kind === 'node' ? siteOf(to) : view.get('clients', to)?.spec.attachedTo;
          const modelled = modelledMs(place, siteOf(from));
          found.push({
            ...{ from, kind, to, by, ageMs, lossShare },
            measuredMs: medianUs / 2000,
            leastMs: leastUs / 2000,
            ...(modelled !== undefined && { modelledMs: modelled }),
          });
        }
      }
      return found.sort((a, b) => (`${a.from} ${a.to}` < `${b.from} ${b.to}` ? -1 : 1));
    },
  };
}
