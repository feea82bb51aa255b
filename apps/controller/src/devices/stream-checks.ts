/** What a stream must be besides its schema: steps that compile, a guest that is there, no circle of streams. Writes nothing. */
import { manifestInvalid, type StreamManifest } from '@skerry/contract/schema';
import { SkerryError } from '@skerry/model';
import { drafted } from '../access/kinds.ts';
import type { Draft } from '../state/draft.ts';
import { keyOf } from '../state/keys.ts';
import type { View } from '../state/view.ts';

/** Errors: manifest_invalid with all faults of its steps. */
export async function checkStreams({ spec }: StreamManifest): Promise<void> {
  // expressions and schemas have compilers of their own: loaded with the first stream
  const { checkStream } = await import('@skerry/devices/check');
  const faults = checkStream(spec);
  if (faults.length > 0) throw manifestInvalid(faults.map(({ path, message }) => ({ field: path, message })));
}

/** All in the draft that it names is there. Errors: manifest_invalid with the field. */
export function requireOfStream(draft: Draft, project: string, { metadata, spec }: StreamManifest): void {
  for (const [at, step] of (spec.steps ?? []).entries()) {
    if (!('guest' in step)) continue;
    const { workload } = step.guest;
    const found = draft.get('workloads', project, workload);
    if (!found || found.metadata.deletedAt !== undefined) {
      const message = `there is no workload "${workload}" in the project ${project}: apply it before, or in the same file`;
      throw manifestInvalid([{ field: `spec.steps[${at}].guest.workload`, message }]);
    }
    draft.need(keyOf('workloads', project, workload));
  }
  for (const [at, sink] of spec.to.entries()) {
    if (!('stream' in sink)) continue;
    const refuse = (message: string) => manifestInvalid([{ field: `spec.to[${at}].stream.name`, message }]);
    const { name } = sink.stream;
    const other = draft.get('streams', project, name);
    if (!other) throw refuse(`there is no stream "${name}" in the project ${project}`);
    if (!other.spec.from.streams)
      throw refuse(`the stream "${name}" takes nothing of other streams: it says no from.streams: true`);
    const circle = wayTo(draft, project, name, metadata.name);
    if (circle) throw refuse(`what it sends would come back: ${[metadata.name, ...circle].join(' -> ')}`);
    draft.need(keyOf('streams', project, name));
  }
}

/** From one stream to another one, by what they send to. */
function wayTo(draft: Draft, project: string, from: string, to: string): string[] | undefined {
  const ways: string[][] = [[from]];
  const seen = new Set<string>();
  for (let way = ways.pop(); way; way = ways.pop()) {
    const last = way.at(-1)!;
    if (last === to) return way;
    if (seen.has(last)) continue;
    seen.add(last);
    for (const sink of draft.get('streams', project, last)?.spec.to ?? [])
      if ('stream' in sink) ways.push([...way, sink.stream.name]);
  }
  return undefined;
}

/** Errors: in_use where the workload is the guest of a stream that stays. */
export function refuseGuestOfStream(draft: Draft, view: View, project: string, name: string): void {
  const by: string[] = [];
  for (const { metadata, spec } of drafted(draft, view, 'streams'))
    if (metadata.project === project)
      if ((spec.steps ?? []).some((step) => 'guest' in step && step.guest.workload === name))
        by.push(`stream ${metadata.name}`);
  if (by.length === 0) return;
  throw new SkerryError('in_use', `the workload ${name} is a guest of ${by.slice(0, 5).join(', ')}`, {
    details: { by },
  });
}
