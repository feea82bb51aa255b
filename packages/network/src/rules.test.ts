import { identityOf } from '@skerry/host';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseSubnet, toAddress } from './addressing.ts';
import { checkPeers, overlayChange, overlayMac, vniOf } from './peers.ts';
import type { NetworkService, OverlayPeer, ServiceBackend } from './port.ts';
import { bestBackends, checkServices, servicesScript } from './services.ts';

const identity = identityOf('0123abcd', '/nowhere');
const own = parseSubnet('10.64.0.0/22');
/** Nodes with subnets of their own, by their number. */
const peer = fc
  .record({ number: fc.integer({ min: 1, max: 4000 }), host: fc.integer({ min: 1, max: 250 }) })
  .map(
    ({ number, host }): OverlayPeer => ({
      node: `n${number}`,
      address: `198.18.0.${host}`,
      subnet: `${toAddress(0x0a400000 + number * 1024)}/22`,
    }),
  );
const peers = fc.uniqueArray(peer, { selector: ({ node }) => node, maxLength: 20 });
const backends = fc.array(
  fc.record({
    address: fc.integer({ min: 0x0a400002, max: 0x0a4fffff }).map(toAddress),
    tier: fc.nat({ max: 4 }),
    open: fc.boolean(),
  }),
  { maxLength: 12 },
) as unknown as fc.Arbitrary<ServiceBackend[]>;

describe('peers', () => {
  test('from whatever is there, one change leads to what is wanted, and another one to nothing', () => {
    fc.assert(
      fc.property(peers, peers, (before, wanted) => {
        const stateOf = (all: readonly OverlayPeer[]) => ({
          routes: all.map(({ subnet }) => subnet),
          neighbours: all.map(({ subnet }) => parseSubnet(subnet).gateway),
          entries: all.map(({ subnet, address }) => {
            const parsed = parseSubnet(subnet);
            return { mac: overlayMac(parsed), dst: address, vni: vniOf(parsed) };
          }),
        });
        const change = overlayChange(identity, own, wanted, stateOf(before));
        const was = new Set(before.map(({ subnet }) => subnet));
        const is = new Set(wanted.map(({ subnet }) => subnet));
        const routes = change.ip.filter((line) => line.startsWith('route replace'));
        const gone = change.removeIp.filter((line) => line.startsWith('route del'));
        expect(routes.map((line) => line.split(' ')[2])).toEqual([...is].filter((one) => !was.has(one)));
        expect(gone.map((line) => line.split(' ')[2])).toEqual([...was].filter((one) => !is.has(one)));
        const again = overlayChange(identity, own, wanted, stateOf(wanted));
        expect(Object.values(again).flat()).toEqual([]);
      }),
    );
  });

  test('whose subnets meet are refused, in any order, and others are not', () => {
    fc.assert(
      fc.property(peers, fc.nat(), (all, at) => {
        expect(() => checkPeers(all, own)).not.toThrow();
        const one = all[at % Math.max(1, all.length)];
        if (!one) return;
        const twin = { ...one, node: 'twin', subnet: one.subnet.replace('/22', '/24') };
        for (const list of [
          [twin, ...all],
          [...all, twin],
        ]) {
          expect(() => checkPeers(list, own)).toThrow(expect.objectContaining({ code: 'request_invalid' }));
        }
      }),
    );
  });

  test('each node has a number and a MAC of its own', () => {
    const subnets = Array.from({ length: 4096 }, (_, n) =>
      parseSubnet(`${toAddress(0x0a400000 + n * 1024)}/22`),
    );
    expect(new Set(subnets.map(vniOf)).size).toBe(subnets.length);
    expect(new Set(subnets.map(overlayMac)).size).toBe(subnets.length);
    expect(Math.max(...subnets.map(vniOf))).toBeLessThan(2 ** 24);
  });
});

describe('services', () => {
  test('lead to open backends of one tier, of which none is farther than any other open one', () => {
    fc.assert(
      fc.property(backends, (all) => {
        const best = bestBackends(all);
        const open = all.filter((one) => one.open);
        expect(best.length > 0).toBe(open.length > 0);
        for (const one of best) expect(open.every(({ tier }) => one.tier <= tier)).toBe(true);
        expect(new Set(best.map(({ tier }) => tier)).size).toBeLessThanOrEqual(1);
      }),
    );
  });

  const good: NetworkService = {
    uid: 'web',
    names: ['web.default.edge'],
    address: '10.190.0.1',
    ports: [{ name: 'web', port: 80, protocol: 'tcp', targetPort: 8080 }],
    backends: [],
  };
  test.each<[string, Partial<NetworkService>]>([
    ['an address that is none', { address: '10.190.0.1; flush ruleset' }],
    ['a name with a line break', { names: ['web\n1.1.1.1 bank'] }],
    ['a name that is too long', { names: ['a.'.repeat(200)] }],
    ['a port that is none', { ports: [{ ...good.ports[0]!, port: 0 }] }],
    ['a port of the guest that is none', { ports: [{ ...good.ports[0]!, targetPort: 70_000 }] }],
    ['a protocol that is none', { ports: [{ ...good.ports[0]!, protocol: 'tcp }' as 'tcp' }] }],
    ['a port twice', { ports: [good.ports[0]!, good.ports[0]!] }],
    [
      'a backend whose address is none',
      { backends: [{ address: '::1', tier: 0, open: true } as ServiceBackend] },
    ],
    ['an address of IPv6 that is none', { address6: 'fd00::1; flush ruleset' }],
    [
      'a backend whose address of IPv6 is none',
      { backends: [{ address: '10.64.0.2', address6: '10.64.0.2', tier: 0, open: true } as ServiceBackend] },
    ],
    ['a tier that is none', { backends: [{ address: '10.64.0.2', tier: -1, open: true } as ServiceBackend] }],
  ])('with %s get nowhere near a rule', (_, wrong) => {
    expect(() => checkServices([{ ...good, ...wrong }])).toThrow(
      expect.objectContaining({ code: 'request_invalid' }),
    );
  });

  test('of one address are refused', () => {
    expect(() => checkServices([good, { ...good, uid: 'other' }])).toThrow(/the address 10.190.0.1 of web/);
    expect(() => checkServices([good])).not.toThrow();
    const [one, other] = [
      { ...good, address6: 'fd00::1' },
      { ...good, uid: 'other', address: '10.190.0.2' },
    ];
    expect(() => checkServices([one, { ...other, address6: 'fd00::2' }])).not.toThrow();
    expect(() => checkServices([one, { ...other, address6: 'FD00:0::1' }])).toThrow(/of web/);
  });

  test('without backends have no rule that leads anywhere', () => {
    expect(servicesScript(identity, [good], [])).not.toContain('dnat ip to');
    expect(servicesScript(identity, [], [])).not.toContain('chain');
  });
});
