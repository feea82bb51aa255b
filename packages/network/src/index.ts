export {
  addressOfSlot,
  bridgeMac,
  cardMac,
  macOfSlot,
  parseSubnet,
  type Subnet,
  toAddress,
  toNumber,
} from './addressing.ts';
export { address6Of, parseSubnet6, type Subnet6, subnet6Of } from './addressing6.ts';
export { handOverNetns } from './hand-over.ts';
export { probeKernel } from './kernel-probe.ts';
export { createLinuxNetwork, type LinuxNetworkOptions, type NetworkLogger } from './linux.ts';
export type * from './port.ts';
export { createSimNetwork, type SimNetworkOptions } from './sim.ts';
export { chooseSubnet, offerSubnets, overlapping, rangeOf, type Taken, takenRanges } from './subnet.ts';
