export * from './identity.ts';
export * from './run.ts';
