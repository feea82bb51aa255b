export * from './plan-guest.ts';
export type * from './port.ts';
