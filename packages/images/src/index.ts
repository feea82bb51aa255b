export { lowerApart as lower } from './functions/lower-apart.ts';
export { createImageStore } from './image-store.ts';
export type * from './port.ts';
export { parseReference } from './registry/reference.ts';
export { inspectKernel, type KernelFacts } from './unikernel/inspect.ts';
export { createVolumes, type Volumes, type VolumeToEnsure } from './volumes.ts';
