export { type Compression, compressionOfFile, unpackedBytes } from './content/compression.ts';
export { lowerApart as lower } from './functions/lower-apart.ts';
export { createImageStore } from './image-store.ts';
export type * from './port.ts';
export { parseReference } from './registry/reference.ts';
export { type ByteSource, bytesOf } from './unikernel/byte-source.ts';
export { inspectKernel } from './unikernel/inspect.ts';
export type * from './unikernel/kernel-facts.ts';
export { createVolumes, type Volumes, type VolumeToEnsure } from './volumes.ts';
