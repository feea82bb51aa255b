/** Simulated nodes, for tests of scale and development: loaded there only. */
export { type SimCrowd, type SimCrowdOptions, startSimCrowd } from './sim-crowd.ts';
export { type SimNode, type SimNodeOptions, startSimNode } from './sim-node.ts';
