/**
 * `ControllerLink` over a session. Desired state is asked for with the mark of what the node goes by already, so that a
 * session that begins anew sends nothing that is known.
 */
import { createHash } from 'node:crypto';
import { SkerryError } from '@skerry/model';
import type { ControllerLink, DesiredState, LeaseRequest, Measurement, Sighting } from '../agent.ts';
import type { DeviceReport, FeedItem, HubCall } from '../devices.ts';
import type { Peer, Served } from './peer.ts';

/** The same for states that ask for the same, whatever their generation and the order of their parts. */
export function markOf({ generation: _, ...rest }: DesiredState): string {
  const parts = Object.entries(rest).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url');
}

type DesiredItem = DesiredState | { readonly generation: number; readonly same: true };
type Report = Parameters<ControllerLink['report']>[1];
type CertificateRequest = Parameters<NonNullable<ControllerLink['deviceCertificate']>>[1];

const noDevices = () => new SkerryError('unsupported', 'this controller knows nothing of devices');

/** The agent's side. `known`: what the node goes by at present, where it has anything. */
export function remoteController(peer: Peer, known: () => DesiredState | undefined): ControllerLink {
  return {
    register: (report) => peer.call('register', report),
    report: (_, observed) => peer.call('report', observed),
    lease: (_, request) => peer.call('lease', request),
    measure: (_, measurements) => peer.call('measure', measurements),
    sighted: (_, sightings) => peer.call('sighted', sightings),
    deviceFeed: (_, since, signal) => peer.stream('deviceFeed', { since }, signal),
    devices: (_, report) => peer.call('devices', report),
    deviceCall: (_, to, call, signal) => peer.stream('deviceCall', { to, call }, signal),
    deviceCertificate: (_, request) => peer.call('deviceCertificate', request),
    async *desired(_, signal) {
      const state = known();
      const params = state ? { mark: markOf(state) } : {};
      // room for one: where several changes come while the node is busy, it wants the last
      for await (const item of peer.stream<DesiredItem>('desired', params, signal, 1)) {
        if (!('same' in item)) yield item;
        else if (state) yield { ...state, generation: Math.max(item.generation, state.generation) };
      }
    },
  };
}

/** The controller's side, for the node of this session: what it says of others is never heard. */
export function serveController(link: ControllerLink, node: string): Served {
  return {
    calls: {
      register: (report: Parameters<ControllerLink['register']>[0]) =>
        link.register({ ...report, name: node }),
      report: (observed: Report) => link.report(node, observed),
      lease: (request: LeaseRequest) => link.lease(node, request),
      measure: (measurements: readonly Measurement[]) => link.measure(node, measurements),
      sighted: (sightings: readonly Sighting[]) => link.sighted(node, sightings),
      async devices(report: DeviceReport) {
        if (!link.devices) throw noDevices();
        return link.devices(node, report);
      },
      async deviceCertificate(request: CertificateRequest) {
        if (!link.deviceCertificate) throw noDevices();
        return link.deviceCertificate(node, request);
      },
    },
    streams: {
      deviceFeed({ since }: { since: number }, signal: AbortSignal): AsyncIterable<FeedItem> {
        if (!link.deviceFeed) throw noDevices();
        return link.deviceFeed(node, since, signal);
      },
      deviceCall({ to, call }: { to: string; call: HubCall }, signal: AbortSignal) {
        if (!link.deviceCall) throw noDevices();
        return link.deviceCall(node, to, call, signal);
      },
      async *desired({ mark }: { mark?: unknown }, signal: AbortSignal): AsyncGenerator<DesiredItem> {
        let last = typeof mark === 'string' ? mark : undefined;
        let isFirst = true;
        for await (const state of link.desired(node, signal)) {
          const now = markOf(state);
          // told once, so that the node knows that it is up to date
          if (now !== last) yield state;
          else if (isFirst) yield { generation: state.generation, same: true };
          isFirst = false;
          last = now;
        }
      },
    },
  };
}
