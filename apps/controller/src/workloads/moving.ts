/**
 * How instances leave their node, because it is drained or because another one is better for them: one of a workload at a time, and another one serves meanwhile where
 * the workload allows more than one. What can be nowhere else stays, and says why. Pure.
 *
 *   leaving -> a stand-in is started elsewhere -> it runs -> the leaving one is taken away and made anew elsewhere -> it runs
 *     -> the next one … -> all run -> the stand-in goes
 */
import type { Instance, Workload } from '@skerry/model';
import type { World } from './converge.ts';
import { isSettled, serves } from './rollout.ts';

export type Move =
  | { readonly do: 'none' }
  | { readonly do: 'wait'; readonly reason: string }
  | { readonly do: 'stand in'; readonly leaving: Instance }
  | { readonly do: 'take away'; readonly leaving: Instance; readonly hasStandIn: boolean };

type Look = Pick<World, 'isDrained' | 'awayMs'>;

const leaves = ({ spec }: Instance, world: Look): boolean =>
  spec.node !== undefined &&
  (spec.leaving === true || world.isDrained(spec.node)) &&
  world.awayMs(spec.node) === undefined;

/** Why an instance can not leave its node. */
function stays({ spec, metadata }: Instance, workload: Workload): string | undefined {
  const [volume] = spec.template.volumes ?? [];
  if (volume) return `${metadata.name} stays on ${spec.node}: its volume ${volume.name} is there`;
  if (workload.spec.move === 'never') return `${metadata.name} stays on ${spec.node}: its \`move\` is never`;
  return undefined;
}

const mayBeTwo = ({ spec, control }: Workload): boolean =>
  control.run === 'running' && spec.singleInstance !== true;

/** `instances`: those that are not being removed, the stand-in included; `wanted`: by their ordinals. */
export function nextMove(
  instances: readonly Instance[],
  wanted: ReadonlyMap<number, unknown>,
  workload: Workload,
  world: Look,
): Move {
  const standIn = instances.find(({ spec }) => spec.standIn);
  const own = instances.filter((one) => one !== standIn && wanted.has(one.spec.ordinal));
  const leaving = own.filter((one) => leaves(one, world));
  const next = leaving.find((one) => stays(one, workload) === undefined);
  if (!next) {
    const reason = leaving.map((one) => stays(one, workload)).find((why) => why !== undefined);
    return reason === undefined ? { do: 'none' } : { do: 'wait', reason };
  }
  if (!mayBeTwo(workload)) return { do: 'take away', leaving: next, hasStandIn: false };
  if (!standIn) return { do: 'stand in', leaving: next };
  const missing = own.length < wanted.size || own.some((one) => !leaves(one, world) && !isWell(one));
  if (missing || !isWell(standIn))
    return { do: 'wait', reason: `${next.metadata.name} leaves ${next.spec.node} as soon as the others run` };
  return { do: 'take away', leaving: next, hasStandIn: true };
}

const isWell = (one: Instance): boolean => serves(one) && isSettled(one);

/** Whether the stand-in is still needed: one leaves, or one that left does not serve yet. */
export function needsStandIn(
  instances: readonly Instance[],
  wanted: ReadonlyMap<number, unknown>,
  workload: Workload,
  world: Look,
): boolean {
  if (!mayBeTwo(workload)) return false;
  const own = instances.filter(({ spec }) => !spec.standIn && wanted.has(spec.ordinal));
  // what waits for room gets that of the stand-in
  if (own.some(({ spec, metadata }) => spec.node === undefined && !metadata.deletedAt)) return false;
  if (own.length < wanted.size || own.some(({ metadata }) => metadata.deletedAt)) return true;
  return own.some((one) => (leaves(one, world) ? stays(one, workload) === undefined : !isWell(one)));
}
