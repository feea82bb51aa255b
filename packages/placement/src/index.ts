export { createNames, type Names } from './names.ts';
export type { SiteOrder } from './topology/site-order.ts';
export * from './topology/topology.ts';
