/** What the schema of a workload can't say: rules between fields. */
import { parseBytes, parseMillis, perSiteOf, replicasOf, type WorkloadSpec } from '@skerry/model';
import type { Refusal } from './explain.ts';
import type { WorkloadManifest } from './kinds.ts';
import { refuseForRuntime } from './runtime-rules.ts';

/** An instance is named `<workload>-<ordinal>` and that must still be a DNS label of 63 characters. */
const LONGEST_NAME = 58;
/** No page of a guest's kernel and nothing of libc fits in less. */
const LEAST_MEMORY_BYTES = 1024 * 1024;

export function refuseWorkload(manifest: WorkloadManifest): Refusal[] {
  const found: Refusal[] = [];
  const refuse = (path: (string | number)[], message: string) => found.push({ path, atKey: false, message });
  const { metadata, spec } = manifest;

  if (metadata.name.length > LONGEST_NAME) {
    refuse(
      ['metadata', 'name'],
      `is too long: at most ${LONGEST_NAME} characters, its instances add a number`,
    );
  }
  const replicas = replicasOf(spec);
  if (spec.singleInstance && (replicas > 1 || perSiteOf(spec)))
    refuse(
      ['spec', 'replicas'],
      `singleInstance never runs two at a time, and replicas is ${perSiteOf(spec) ? 'one for each site' : replicas}`,
    );
  if (perSiteOf(spec)) refusePerSite(spec, refuse);
  const names = new Set<string>();
  for (const [index, port] of (spec.ports ?? []).entries()) {
    const at = ['spec', 'ports', index];
    if (names.has(port.name)) refuse([...at, 'name'], `two ports are called "${port.name}"`);
    names.add(port.name);
    if (port.publish !== undefined && replicas > 1) {
      refuse(
        [...at, 'publish'],
        `a port of the node can lead to one instance only, and replicas is ${replicas}`,
      );
    }
  }
  const published = (spec.ports ?? []).filter((port) => port.publish !== undefined);
  for (const [index, port] of published.entries()) {
    const twin = published
      .slice(0, index)
      .some((p) => p.publish === port.publish && (p.protocol ?? 'tcp') === (port.protocol ?? 'tcp'));
    if (twin)
      refuse(['spec', 'ports', spec.ports!.indexOf(port), 'publish'], `${port.publish} is published twice`);
  }
  const mounts = new Set<string>();
  for (const [index, volume] of (spec.volumes ?? []).entries()) {
    if (mounts.has(volume.mount))
      refuse(['spec', 'volumes', index, 'mount'], `two volumes are mounted at ${volume.mount}`);
    mounts.add(volume.mount);
  }
  const { onHandover } = spec;
  const takesTcp = ({ port, protocol = 'tcp' }: { port: number; protocol?: string }) =>
    port === onHandover?.port && protocol === 'tcp';
  if (onHandover && !(spec.ports ?? []).some(takesTcp))
    refuse(['spec', 'onHandover', 'port'], `${onHandover.port} is none of the TCP ports in spec.ports`);
  const { health, resources } = spec;
  if (health) {
    const probes = [health.http, health.tcp, health.exec].filter((probe) => probe !== undefined).length;
    if (probes !== 1) refuse(['spec', 'health'], 'needs exactly one of http, tcp and exec');
    for (const field of ['interval', 'timeout'] as const) {
      const text = health[field];
      if (text !== undefined && parseMillis(text) < 10)
        refuse(['spec', 'health', field], `${text} is too short: at least 10ms`);
    }
  }
  if (resources?.memory !== undefined && parseBytes(resources.memory) < LEAST_MEMORY_BYTES) {
    refuse(['spec', 'resources', 'memory'], `${resources.memory} is too little: at least 1MiB`);
  }
  return [...found, ...refuseForRuntime(spec)];
}

function refusePerSite(
  spec: WorkloadSpec,
  refuse: (path: (string | number)[], message: string) => void,
): void {
  const [volume] = spec.volumes ?? [];
  if (volume)
    refuse(
      ['spec', 'replicas', 'perSite'],
      `the volume ${volume.name} is on one node, and instances come and go at every site: leave it out, or say how many replicas`,
    );
  if (spec.placement?.spread === 'site')
    refuse(['spec', 'placement', 'spread'], 'perSite says already at which sites it is: leave spread out');
  if (spec.placement?.rebalance === 'automatic')
    refuse(
      ['spec', 'placement', 'rebalance'],
      'with perSite instances follow the clients by themselves: leave rebalance out',
    );
}
