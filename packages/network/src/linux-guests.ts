/**
 * Attaching and detaching one guest. Idempotent: what is there is looked up first and only what is missing is made.
 * Verbs for one guest follow one another; those for different guests go at the same time.
 */
import {
  GUEST_GID,
  GUEST_UID,
  type Identity,
  linkBytes,
  linkState,
  listLinks,
  netnsExists,
  netnsPath,
} from '@skerry/host';
import { SkerryError } from '@skerry/model';
import { bridgeMac, type Subnet } from './addressing.ts';
import type { Subnet6 } from './addressing6.ts';
import { bridgeOf } from './bridges.ts';
import { bridgedRules } from './forwarding.ts';
import { turnOnIpv6 } from './inside-ipv6.ts';
import type { HostLines } from './linux-host.ts';
import { attachLines, cardLines, insideLines, netnsName, shaperOf, shapingLines } from './linux-links.ts';
import { cardDevice, deviceOf, elementScript } from './linux-rules.ts';
import type { NameServer } from './name-server.ts';
import type { Attachment, AttachRequest } from './port.ts';
import { claimPorts, releasePorts } from './port-claims.ts';
import { checkRequest, withoutIpv6 } from './request.ts';

const INSIDE_LIMIT_MS = 20_000;
const OWNER = { uid: GUEST_UID, gid: GUEST_GID };

export interface Guests {
  /** Guests whose interface is there already, as `start` was told. */
  adopt(requests: readonly AttachRequest[]): void;
  attach(request: AttachRequest): Promise<Attachment>;
  begin(request: AttachRequest): Promise<{ readonly attachment: Attachment; readonly ready: Promise<void> }>;
  detach(uid: string): Promise<void>;
  counters(uid: string): { rxBytes: number; txBytes: number } | undefined;
  all(): AttachRequest[];
}

export interface GuestsOptions {
  readonly identity: Identity;
  readonly subnet: Subnet;
  readonly subnet6: () => Subnet6 | undefined;
  readonly lines: HostLines;
  readonly names: NameServer;
  readonly mtu: () => number;
  /** Of the node's operator: name of a network -> bridge. */
  readonly bridges: Readonly<Record<string, string>>;
  /** Makes all rules of the data folder anew, with these guests: somebody took them away. */
  readonly renew: (guests: readonly AttachRequest[]) => Promise<void>;
}

export function createGuests(options: GuestsOptions): Guests {
  const { identity, subnet, subnet6, lines, names, mtu, bridges, renew } = options;
  const guests = new Map<string, AttachRequest>();
  const last = new Map<string, Promise<unknown>>();

  /** Runs after everything that was asked for this guest before. */
  const inTurn = <T>(uid: string, work: () => Promise<T>): Promise<T> => {
    const turn = (last.get(uid) ?? Promise.resolve()).then(work, work);
    last.set(uid, turn);
    const forget = () => {
      if (last.get(uid) === turn) last.delete(uid);
    };
    turn.then(forget, forget);
    return turn;
  };

  const nameOf = (uid: string) => {
    const guest = guests.get(uid);
    return guest ? `the guest ${guest.hostname}` : `the guest ${uid}`;
  };

  const checkNeighbours = (request: AttachRequest) => {
    for (const other of guests.values()) {
      if (other.uid === request.uid) continue;
      const same = (['slot', 'address', 'mac'] as const).find((field) => other[field] === request[field]);
      if (same === undefined) continue;
      throw new SkerryError('conflict', `the ${same} ${request[same]} belongs to ${nameOf(other.uid)}`, {
        details: { field: same, by: other.uid },
      });
    }
  };

  /** One transaction, so that a guest that runs is never without its elements. */
  const replaceScript = (before: AttachRequest | undefined, after: AttachRequest) => {
    const added = elementScript(identity, 'add', after);
    if (before === undefined || elementScript(identity, 'add', before) === added) return added;
    return elementScript(identity, 'delete', before) + added;
  };

  /** Where the tables were taken away under us (`nft flush ruleset`), a change makes them anew from what is known. */
  const change = async (script: string, leaving?: string) => {
    try {
      await lines.nft(script);
    } catch {
      const staying = [...guests.values()].filter((guest) => guest.uid !== leaving);
      await renew(staying); // its failure tells more than that of the element
    }
  };

  const devicesOf = (uid: string) =>
    listLinks(identity.interfacePrefix)
      .filter((link) => link.alias === uid)
      .map((link) => link.name);

  const shape = async (request: AttachRequest) => {
    const shaped =
      guests.get(request.uid)?.bandwidth !== undefined ||
      linkState(shaperOf(identity, request.slot)) !== undefined;
    if (!shaped && request.bandwidth === undefined) return;
    const { ip, tc } = shapingLines(identity, request, mtu(), shaped);
    await lines.ip(ip, (text) => text.includes('File exists'));
    await lines.tc(tc);
  };

  /** Errors: host_missing for a network that the node has not, or whose bridge is gone. */
  const furtherLines = ({ uid, slot, cards = [] }: AttachRequest) =>
    cards.flatMap(({ network }, index) => {
      const bridge = bridgeOf(bridges, network);
      const device = cardDevice(identity, slot, index);
      return cardLines(device, uid, bridge, linkState(device), OWNER);
    });
  /** Cards of before that are no more. */
  const dropCards = async (before: AttachRequest | undefined, after: AttachRequest) => {
    const kept = after.cards?.length ?? 0;
    const gone = (before?.cards ?? [])
      .slice(kept)
      .map((_, at) => cardDevice(identity, after.slot, kept + at));
    const devices = gone.filter((device) => linkState(device)?.alias === after.uid);
    if (devices.length > 0) await lines.remove({ netns: [], devices });
  };

  const wire = async (request: AttachRequest, made: () => void) => {
    const device = deviceOf(identity, request);
    const netns = netnsName(identity, request.uid);
    const found = {
      link: linkState(device),
      netns: request.kind === 'netns' && netnsExists(netns),
      bridgedRules: bridgedRules(),
    };
    await lines.ip([...attachLines(identity, request, mtu(), found, OWNER), ...furtherLines(request)]);
    made();
    const insideAll = async () => {
      if (request.kind !== 'netns') return;
      const attachment = answer(request);
      if (found.netns && attachment.v6) await turnOnIpv6(netns, AbortSignal.timeout(INSIDE_LIMIT_MS));
      await lines.ipInside(netns, insideLines(attachment));
    };
    await Promise.all([insideAll(), shape(request)]);
  };

  const forgetNeighbour = async ({ address6 }: Partial<AttachRequest> = {}) => {
    if (address6 === undefined) return;
    await lines.ip([`neigh del ${address6} dev ${identity.bridge}`], () => true); // it went with the bridge, or was never told
  };

  const unwire = async (uid: string, request: AttachRequest | undefined) => {
    const netns = netnsName(identity, uid);
    names.remove(uid);
    const gone = await Promise.allSettled([
      request && change(elementScript(identity, 'delete', request), uid), // each waits 20 ms for the kernel: together
      forgetNeighbour(request),
      lines.remove({ netns: netnsExists(netns) ? [netns] : [], devices: devicesOf(uid) }),
    ]);
    for (const outcome of gone) if (outcome.status === 'rejected') throw outcome.reason;
    if (request) releasePorts(identity, uid, request.ports);
  };

  const answer6 = ({ address6 }: AttachRequest) => {
    const own = subnet6();
    if (!own || address6 === undefined) return undefined;
    const { prefixLength, gateway } = own;
    return { address: address6, prefixLength, gateway, gatewayMac: bridgeMac(identity) };
  };
  const answer = (request: AttachRequest): Attachment => {
    const { uid, address, mac } = request;
    const { prefixLength, gateway } = subnet;
    const v6 = answer6(request);
    const addressing = {
      uid,
      address,
      prefixLength,
      gateway,
      dns: gateway,
      mac,
      mtu: mtu(),
      ...(v6 && { v6 }),
    };
    if (request.kind === 'tap') {
      const cards = request.cards?.map((card, index) => ({
        ...{ ...card, device: cardDevice(identity, request.slot, index) },
      }));
      return { ...addressing, kind: 'tap', device: deviceOf(identity, request), ...(cards && { cards }) };
    }
    const netns = netnsName(identity, uid);
    return { ...addressing, kind: 'netns', netns, path: netnsPath(netns) };
  };

  const attach = (asked: AttachRequest, made: () => void = () => {}) =>
    inTurn(asked.uid, async () => {
      checkRequest(asked, subnet, subnet6());
      const request = subnet6() ? asked : withoutIpv6(asked);
      checkNeighbours(request);
      const before = guests.get(request.uid);
      const claimed = claimPorts(identity, request, nameOf);
      guests.set(request.uid, request); // from here on no other guest gets its slot
      try {
        if (before && deviceOf(identity, before) !== deviceOf(identity, request)) {
          await lines.remove({ netns: [], devices: devicesOf(request.uid) });
        }
        await dropCards(before, request);
        names.add(request);
        const outcomes = await Promise.allSettled([
          change(replaceScript(before, request)),
          wire(request, made),
        ]);
        for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
        if (before) {
          const still = new Set(request.ports.map((port) => `${port.protocol} ${port.publish}`));
          const gone = before.ports.filter((port) => !still.has(`${port.protocol} ${port.publish}`));
          releasePorts(identity, request.uid, gone);
        }
        return answer(request);
      } catch (error) {
        if (before) {
          guests.set(request.uid, before);
          await change(replaceScript(request, before)).catch(() => undefined);
          releasePorts(identity, request.uid, claimed);
        } else {
          await unwire(request.uid, request).catch(() => undefined); // the first failure is the one to tell
          releasePorts(identity, request.uid, claimed);
          guests.delete(request.uid);
        }
        throw error;
      }
    });

  return {
    adopt(requests) {
      guests.clear();
      for (const request of requests) guests.set(request.uid, request);
    },
    attach: (request) => attach(request),
    async begin(request) {
      let tell = () => {};
      const made = new Promise<void>((resolve) => {
        tell = resolve;
      });
      const whole = attach(request, tell);
      const ready = whole.then(() => undefined);
      ready.catch(() => undefined); // heard of by whoever waits for it
      await Promise.race([made, ready]);
      return { attachment: answer(request), ready };
    },
    detach: (uid) =>
      inTurn(uid, async () => {
        await unwire(uid, guests.get(uid));
        guests.delete(uid);
      }),
    counters(uid) {
      const request = guests.get(uid);
      const bytes = request && linkBytes(deviceOf(identity, request));
      return bytes && { rxBytes: bytes.txBytes, txBytes: bytes.rxBytes }; // what the host sends, the guest receives
    },
    all: () => [...guests.values()],
  };
}
