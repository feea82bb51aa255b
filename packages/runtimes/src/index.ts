export { type ContainerdOptions, createContainerdRuntime } from './containerd/runtime.ts';
export { createDockerRuntime, type DockerOptions } from './docker/runtime.ts';
export * from './plan-guest.ts';
export type * from './port.ts';
export { createQemuRuntime, type QemuRuntimeOptions } from './qemu/runtime.ts';
export { createSimMemory, openSimFolder, type SimRecords } from './sim/records.ts';
export { createSimRuntime, type SimOptions, type SimRuntime } from './sim/runtime.ts';
export { checkNetworkConfig, checkUserData } from './vm/cloud-init.ts';
export { createVmRuntime, type VmRuntimeOptions } from './vm/runtime.ts';
