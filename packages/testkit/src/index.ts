export * from './eventually.ts';
export * from './images.ts';
export * from './unikernel-files.ts';
