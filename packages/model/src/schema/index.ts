export * from './access-network.ts';
export * from './activity.ts';
export * from './devices.ts';
export * from './infrastructure.ts';
export * from './instance.ts';
export * from './shared.ts';
export * from './workload.ts';
