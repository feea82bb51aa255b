/**
 * A node network without a host, for scale tests and the `sim` runtime: the same answers, refusals and idempotence,
 * timings by configuration; no packet ever moves and nothing is left behind.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type Identity, netnsPath } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import { bridgeMac, parseSubnet } from './addressing.ts';
import { subnet6Of } from './addressing6.ts';
import { netnsName } from './linux-links.ts';
import { deviceOf } from './linux-rules.ts';
import { checkPeers } from './peers.ts';
import type { Attachment, AttachRequest, NodeNetwork } from './port.ts';
import { checkRequest } from './request.ts';
import { checkServices } from './services.ts';

export interface SimNetworkOptions {
  readonly identity: Identity;
  readonly subnet: string;
  /** How long an attach and a detach take. Default 0: they answer at once. */
  readonly attachMs?: number;
  readonly detachMs?: number;
  /** Ports of the node that something else holds: `tcp 8080`. */
  readonly takenPorts?: ReadonlySet<string>;
  /** Asked before every attach; what it returns is thrown. */
  readonly fault?: (request: AttachRequest) => SkerryError | undefined;
}

export function createSimNetwork(options: SimNetworkOptions): NodeNetwork {
  const { identity } = options;
  const subnet = parseSubnet(options.subnet);
  const subnet6 = subnet6Of(identity, subnet);
  const guests = new Map<string, AttachRequest>();
  let started = false;

  const refuseTaken = (request: AttachRequest) => {
    for (const { protocol, publish } of request.ports) {
      if (publish === undefined) continue;
      const holder = [...guests.values()].find(
        (guest) =>
          guest.uid !== request.uid &&
          guest.ports.some((port) => port.protocol === protocol && port.publish === publish),
      );
      if (holder || options.takenPorts?.has(`${protocol} ${publish}`)) {
        const by = holder ? `the guest ${holder.hostname} publishes it` : 'a program listens on it';
        throw new SkerryError('port_taken', `the ${protocol} port ${publish} of this node is taken: ${by}`, {
          details: { port: publish, protocol },
        });
      }
    }
  };
  const refuseNeighbour = (request: AttachRequest) => {
    for (const other of guests.values()) {
      const same = (['slot', 'address', 'mac'] as const).find((field) => other[field] === request[field]);
      if (other.uid === request.uid || same === undefined) continue;
      const text = `the ${same} ${request[same]} belongs to the guest ${other.hostname}`;
      throw new SkerryError('conflict', text, { details: { field: same, by: other.uid } });
    }
  };

  return {
    subnet: subnet.cidr,
    subnet6: subnet6.cidr,
    networks: [],
    async start(keep) {
      guests.clear();
      for (const guest of keep) guests.set(guest.uid, guest);
      started = true;
    },
    async attach(request, signal): Promise<Attachment> {
      signal.throwIfAborted();
      checkRequest(request, subnet, subnet6);
      refuseNeighbour(request);
      refuseTaken(request);
      const before = guests.get(request.uid);
      guests.set(request.uid, request);
      try {
        const fault = options.fault?.(request);
        if (fault) throw fault;
        if (options.attachMs) await delay(options.attachMs, undefined, { signal });
      } catch (error) {
        if (before) guests.set(request.uid, before);
        else guests.delete(request.uid);
        throw error;
      }
      const { uid, address, address6, mac } = request;
      const { prefixLength, gateway } = subnet;
      const v6 = { address: address6 ?? '', ...subnet6, gatewayMac: bridgeMac(identity) };
      const whole = address6 === undefined ? {} : { v6 };
      const addressing = { uid, address, prefixLength, gateway, dns: gateway, mac, mtu: 1500, ...whole };
      if (request.kind === 'tap') return { ...addressing, kind: 'tap', device: deviceOf(identity, request) };
      const netns = netnsName(identity, uid);
      return { ...addressing, kind: 'netns', netns, path: netnsPath(netns) };
    },
    async detach(uid, signal) {
      signal.throwIfAborted();
      if (options.detachMs) await delay(options.detachMs, undefined, { signal });
      guests.delete(uid);
    },
    async setPeers(peers, signal) {
      signal.throwIfAborted();
      checkPeers(peers, subnet);
    },
    async setClients(_, signal) {
      signal.throwIfAborted();
    },
    async setServices(services, signal) {
      signal.throwIfAborted();
      checkServices(services);
    },
    underlay: async () => undefined,
    counters: async (uid) => (guests.has(uid) ? { rxBytes: 0, txBytes: 0 } : undefined),
    async probe() {
      const text = started ? `simulated: ${guests.size} guests, no packets` : 'simulated: not started';
      return [{ name: 'network.sim', ok: true, level: 'ok', text }];
    },
    async stop() {
      started = false;
    },
    async destroy() {
      guests.clear();
      started = false;
    },
  };
}
