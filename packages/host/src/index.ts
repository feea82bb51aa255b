export * from './data-folder.ts';
export * from './identity.ts';
export * from './process.ts';
export * from './run.ts';
