export * from './errors.ts';
export * from './guest.ts';
export * from './guest-defaults.ts';
export * from './guest-words.ts';
export * from './ids.ts';
export * from './phases.ts';
export * from './runtime-kinds.ts';
export type * from './schema/index.ts';
export * from './units.ts';
