/**
 * The private containerd's configuration: only what containers need, all of it below the data folder and the run folder,
 * so that it meets no other containerd of the machine. Durable content in `root`, the rest in `state`.
 */
import { join } from 'node:path';
import type { Identity } from '@skerry/host';

export interface EnginePaths {
  readonly root: string;
  readonly folder: string;
  readonly state: string;
  readonly socket: string;
  readonly config: string;
  readonly log: string;
  /** Which process it is: read by whoever attaches to it later. */
  readonly record: string;
  /** runc's own state. */
  readonly runc: string;
}

export function enginePaths(identity: Identity): EnginePaths {
  const folder = join(identity.runDir, 'containerd');
  return {
    root: join(identity.dataDir, 'containerd/root'),
    folder,
    state: join(folder, 'state'),
    socket: join(folder, 'containerd.sock'),
    config: join(folder, 'config.toml'),
    log: join(identity.dataDir, 'containerd/containerd.log'),
    record: join(folder, 'engine.json'),
    runc: join(folder, 'runc'),
  };
}

const DISABLED = [
  'io.containerd.grpc.v1.cri',
  'io.containerd.internal.v1.opt',
  'io.containerd.internal.v1.restart',
  'io.containerd.internal.v1.tracing',
  'io.containerd.tracing.processor.v1.otlp',
  'io.containerd.snapshotter.v1.aufs',
  'io.containerd.snapshotter.v1.btrfs',
  'io.containerd.snapshotter.v1.devmapper',
  'io.containerd.snapshotter.v1.native',
  'io.containerd.snapshotter.v1.zfs',
];

/** TOML of containerd-config.toml(5). Its strings take JSON's escapes. */
export function engineConfig(paths: EnginePaths): string {
  const text = JSON.stringify;
  return `version = 2
root = ${text(paths.root)}
state = ${text(paths.state)}
# Rather a guest than the engine of all guests when the host runs out of memory.
oom_score = -500
disabled_plugins = ${text(DISABLED)}

[grpc]
  address = ${text(paths.socket)}

[debug]
  level = "warn"

[ttrpc]
  address = ${text(`${paths.socket}.ttrpc`)}

[plugins."io.containerd.monitor.v1.cgroups"]
  # Figures are read from the control groups when somebody asks.
  no_prometheus = true
`;
}
