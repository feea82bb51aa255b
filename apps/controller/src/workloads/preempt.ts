/** Ends an instance because another one, of a higher priority, has no room; and says why an instance waits. No I/O. */
import type { Answer } from '../placement/place.ts';
import type { Draft } from '../state/draft.ts';
import { keyOf } from '../state/keys.ts';
import { touched } from '../state/resource.ts';
import type { World } from './converge.ts';

/** `ended`: as placement names it, `default/web-0`. One that is being removed already is left alone. */
export function preempt(draft: Draft, ended: string, by: string, world: World): void {
  const [project = '', name = ''] = ended.split('/');
  const victim = draft.get('instances', project, name);
  if (!victim || victim.metadata.deletedAt) return;
  const metadata = { ...touched(victim.metadata, world.now, { spec: true }), deletedAt: world.now };
  draft.put(keyOf('instances', project, name), { ...victim, metadata });
  draft.event({
    type: 'warning',
    reason: 'Preempted',
    message: `instance ${name} is ended on ${victim.spec.node}: its room is needed by ${by}, which has a higher priority`,
    about: { kind: 'Instance', project, name, uid: victim.metadata.uid },
  });
}

export function whyNot(answer: Exclude<Answer, { readonly placed: unknown }>): string {
  if ('waits' in answer) return answer.waits;
  if ('refused' in answer) return answer.refused.message;
  const names = answer.ends.map(({ key }) => key.split('/').at(-1)).join(', ');
  return `room is being made on ${answer.node}: ${names} of less priority ${answer.ends.length === 1 ? 'ends' : 'end'} for it`;
}
