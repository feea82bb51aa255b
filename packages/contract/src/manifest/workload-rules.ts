/** What the schema of a workload can't say: rules between fields. */
import { parseBytes, parseMillis } from '@skerry/model';
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
  if (spec.singleInstance && (spec.replicas ?? 1) > 1)
    refuse(['spec', 'replicas'], `singleInstance never runs two at a time, and replicas is ${spec.replicas}`);
  const names = new Set<string>();
  for (const [index, port] of (spec.ports ?? []).entries()) {
    const at = ['spec', 'ports', index];
    if (names.has(port.name)) refuse([...at, 'name'], `two ports are called "${port.name}"`);
    names.add(port.name);
    if (port.publish !== undefined && (spec.replicas ?? 1) > 1) {
      refuse(
        [...at, 'publish'],
        `a port of the node can lead to one instance only, and replicas is ${spec.replicas}`,
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
