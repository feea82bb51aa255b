export * from './boot-clock.ts';
export * from './cgroup.ts';
export * from './cgroup-clear.ts';
export * from './cgroup-entry.ts';
export * from './cgroup-make.ts';
export * from './cgroup-of.ts';
export * from './coalesce.ts';
export * from './command-line.ts';
export * from './conntrack.ts';
export * from './cpu-flags.ts';
export * from './data-folder.ts';
export * from './doctor.ts';
export { type Echoes, openEchoes } from './echo.ts';
export * from './emulated-link.ts';
export * from './fdb.ts';
export * from './find-process.ts';
export * from './foreground.ts';
export * from './guest-user.ts';
export * from './identity.ts';
export * from './interactive.ts';
export * from './ip.ts';
export * from './ipv6-forwarding.ts';
export { errnoName, signalName } from './launcher.ts';
export * from './layer-ext4.ts';
export * from './lease-guard.ts';
export * from './limits.ts';
export * from './links.ts';
export * from './listeners.ts';
export * from './loop.ts';
export * from './machine.ts';
export * from './machine-addresses.ts';
export * from './machine-space.ts';
export * from './mounts.ts';
export {
  type Neighbour,
  type NeighbourListener,
  type NeighbourOptions,
  parseNeighbour,
  watchNeighbours,
} from './neighbours.ts';
export * from './netns.ts';
export * from './netns-sysctl.ts';
export * from './nft.ts';
export * from './process.ts';
export * from './program-output.ts';
export * from './qmp.ts';
export * from './reserve-space.ts';
export * from './run.ts';
export * from './signal-mask.ts';
export * from './sysctl.ts';
export * from './tc.ts';
export { type TcpRoundTrips, tcpRoundTrips } from './tcp-round-trips.ts';
