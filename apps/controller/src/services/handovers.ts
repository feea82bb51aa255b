/**
 * Handovers that a workload wants to hear of: for each node that runs an instance of it, where the clients that it is near to came
 * last, and from where. It follows from what is stored alone. Pure.
 */
import type { HandoverNotice } from '@skerry/contract';
import type { Client, Workload } from '@skerry/model';
import type { View } from '../state/view.ts';

/** Of a workload, the latest: who has more clients asks for them. */
export const MOST_MOVES = 100;

type Move = HandoverNotice['moves'][number];
const fits = (labels: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>) =>
  Object.entries(wanted).every(([key, value]) => labels[key] === value);

/** Of all clients, those that moved at all, the latest first; each with the labels that it is chosen by. */
function movesOf(
  clients: Iterable<Client>,
): { readonly labels: Client['metadata']['labels']; readonly move: Move }[] {
  const found = [];
  for (const { metadata, spec, status } of clients) {
    const [from] = status.former ?? [];
    if (spec.attachedTo === undefined || status.attachedAt === undefined || from === undefined) continue;
    const move: Move = {
      ...{ client: metadata.name, from, to: spec.attachedTo, at: status.attachedAt },
      handovers: status.handovers,
    };
    found.push({ labels: metadata.labels, move });
  }
  return found.sort((a, b) =>
    a.move.at === b.move.at ? (a.move.client < b.move.client ? -1 : 1) : a.move.at < b.move.at ? 1 : -1,
  );
}

/** By node. */
export function handoverNotices(view: View): Map<string, HandoverNotice[]> {
  const found = new Map<string, HandoverNotice[]>();
  const asking: Workload[] = [];
  for (const workload of view.all('workloads')) if (workload.spec.onHandover) asking.push(workload);
  if (asking.length === 0) return found;
  const all = movesOf(view.all('clients'));
  for (const { metadata, spec } of asking.sort((a, b) => (a.metadata.uid < b.metadata.uid ? -1 : 1))) {
    const wanted = spec.placement?.near?.clients ?? {};
    const moves = all.filter(({ labels }) => fits(labels, wanted)).slice(0, MOST_MOVES);
    if (moves.length === 0) continue;
    const notice = { workloadUid: metadata.uid, moves: moves.map(({ move }) => move) };
    const nodes = view.instancesOf(metadata.project!, metadata.name).flatMap((one) => one.spec.node ?? []);
    for (const node of new Set(nodes)) {
      const known = found.get(node);
      if (known) known.push(notice);
      else found.set(node, [notice]);
    }
  }
  return found;
}
