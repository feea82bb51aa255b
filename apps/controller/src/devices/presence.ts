/** Where devices are connected, what streams did at each node, and where nodes listen: in memory, from reports alone. */
import type { DeviceReport } from '@skerry/contract';
import type { Device, Stream } from '@skerry/model';
import type { Core } from '../core.ts';

interface Present {
  readonly node: string;
  connected: boolean;
  seenAtMs: number;
}
type Counts = Stream['status']['nodes'][number];

export interface DevicePresence {
  take(node: string, report: DeviceReport): void;
  show(device: Device): Device;
  showStream(stream: Stream): Stream;
  /** URLs of nodes that are there, for devices. */
  urls(): string[];
}

export function createDevicePresence({ view, clock }: Pick<Core, 'view' | 'clock'>): DevicePresence {
  const present = new Map<string, Present>();
  const counts = new Map<string, Map<string, Counts>>();
  const listening = new Map<string, readonly string[]>();
  const isThere = (node: string) => view.get('nodes', node)?.status.phase === 'ready';
  view.onChange(({ collection, key, after, before }) => {
    if (after) return;
    const { metadata } = (before ?? {}) as Partial<Device>;
    if (collection === 'devices' && metadata) present.delete(`${metadata.project}/${metadata.name}`);
    if (collection === 'streams' && metadata) counts.delete(`${metadata.project}/${metadata.name}`);
    if (collection === 'nodes') listening.delete(key.split('/').at(-1)!);
  });
  return {
    take(node, { fresh, devices, streams, listening: urls }) {
      const nowMs = clock.nowMs();
      if (fresh) for (const one of present.values()) if (one.node === node) one.connected = false;
      for (const { project, name, connected, seenAgoMs } of devices) {
        if (!view.get('devices', project, name)) continue;
        const key = `${project}/${name}`;
        const before = present.get(key);
        // one that left here may be at another node by now
        if (!connected && before && before.node !== node && before.connected) continue;
        present.set(key, { node, connected, seenAtMs: nowMs - Math.max(0, seenAgoMs) });
      }
      listening.set(node, urls);
      const named = new Set<string>();
      for (const { project, name, ...numbers } of streams) {
        const key = `${project}/${name}`;
        if (!view.get('streams', project, name)) continue;
        named.add(key);
        const nodes = counts.get(key) ?? new Map<string, Counts>();
        counts.set(key, nodes.set(node, { node, ...numbers }));
      }
      for (const [key, nodes] of counts) if (!named.has(key)) nodes.delete(node);
    },
    show(device) {
      const one = present.get(`${device.metadata.project}/${device.metadata.name}`);
      if (!one) return device;
      const connected = one.connected && isThere(one.node);
      const lastSeen = new Date(one.seenAtMs).toISOString();
      return { ...device, status: { ...device.status, connected, node: one.node, lastSeen } };
    },
    showStream(stream) {
      const nodes = [...(counts.get(`${stream.metadata.project}/${stream.metadata.name}`)?.values() ?? [])];
      nodes.sort((a, b) => (a.node < b.node ? -1 : 1));
      return { ...stream, status: { nodes } };
    },
    urls: () => [...listening].flatMap(([node, urls]) => (isThere(node) ? urls : [])).sort(),
  };
}
