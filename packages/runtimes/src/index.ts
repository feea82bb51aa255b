export { type ContainerdOptions, createContainerdRuntime } from './containerd/runtime.ts';
export * from './plan-guest.ts';
export type * from './port.ts';
export { createQemuRuntime, type QemuRuntimeOptions } from './qemu/runtime.ts';
