export { type Agent, createAgent, type LocalInstance } from './agent.ts';
export { type HealthProbe, type ProbeRequest, type ProbeResult, probeGuest } from './health/probe.ts';
export { createLeaseFiles } from './lease/files.ts';
export type * from './ports.ts';
