export { type Bound, type BoundOptions, lowerBound } from './choose/bound.ts';
export {
  type Choice,
  type ChooseOptions,
  chooseSites,
  type Served,
} from './choose/choose.ts';
export * from './choose/demand.ts';
export { chooseExactly, type Exact } from './choose/exact.ts';
export * from './choose/for-world.ts';
export { type ChooseRequest, instanceOf } from './choose/instance.ts';
export * from './fleet/fleet.ts';
export type { InstanceRow } from './fleet/instances.ts';
export type * from './fleet/node.ts';
export { createNames, type Names } from './names.ts';
export type { World } from './place/context.ts';
export * from './place/placer.ts';
export { REASONS, type ReasonCode } from './place/reasons.ts';
export type * from './place/request.ts';
export * from './rebalance/rebalance.ts';
export { seeded } from './seeded.ts';
export type { SiteOrder } from './topology/site-order.ts';
export * from './topology/topology.ts';
