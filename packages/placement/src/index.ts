export * from './fleet/fleet.ts';
export type { InstanceRow } from './fleet/instances.ts';
export type * from './fleet/node.ts';
export { createNames, type Names } from './names.ts';
export type { SiteOrder } from './topology/site-order.ts';
export * from './topology/topology.ts';
