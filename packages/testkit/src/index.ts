export * from './eventually.ts';
export * from './images.ts';
