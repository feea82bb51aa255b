import { identityOf } from '@skerry/host';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addressOfSlot, macOfSlot, parseSubnet, toAddress } from './addressing.ts';
import { overlapping, pickSubnet, rangeOf } from './subnet.ts';

const hexId = fc.integer({ min: 0, max: 0xffffffff }).map((value) => value.toString(16).padStart(8, '0'));
const range = fc
  .tuple(fc.integer({ min: 0x0a000000, max: 0x0affffff }), fc.integer({ min: 10, max: 32 }))
  .map(([value, length]) => rangeOf(`${toAddress(value)}/${length}`, 'a route'));

test('a chosen subnet is private and meets nothing that is taken', () => {
  fc.assert(
    fc.property(hexId, fc.array(range, { maxLength: 40 }), (id, taken) => {
      const cidr = pickSubnet(id, taken);
      expect(cidr).toMatch(/^(10|172)\.\d+\.\d+\.0\/22$/);
      expect(overlapping(cidr, taken)).toBeUndefined();
    }),
  );
});

test('the same identity gets the same subnet, and the next one where it is taken', () => {
  const first = pickSubnet('0123abcd', []);
  expect(pickSubnet('0123abcd', [])).toBe(first);
  const second = pickSubnet('0123abcd', [rangeOf(first, 'another bridge')]);
  expect(second).not.toBe(first);
  expect(pickSubnet('0123abcd', [rangeOf(first, 'a'), rangeOf(second, 'b')])).not.toBe(second);
});

test('a wide route is avoided while there is another choice, and no reason to fail where there is none', () => {
  const vpn = rangeOf('10.0.0.0/8', 'a route');
  const office = rangeOf('172.16.0.0/12', 'a route');
  expect(pickSubnet('00000000', [vpn])).toMatch(/^172\./);
  const own = rangeOf('10.64.0.0/22', 'a link');
  expect(pickSubnet('00000000', [vpn, office, own])).toBe('10.64.4.0/22');
});

test('where no subnet is left it is said, not guessed', () => {
  const all = [10, 172].flatMap((first) => {
    const [base, count] = first === 10 ? [64 * 65536, 4096] : [16 * 65536, 1024];
    return Array.from({ length: count }, (_, step) =>
      rangeOf(`${toAddress(first * 2 ** 24 + base + step * 1024)}/22`, 'a link'),
    );
  });
  expect(() => pickSubnet('0123abcd', all)).toThrow(expect.objectContaining({ code: 'address_exhausted' }));
});

test('every slot has an address and a MAC of its own, never those of gateway, broadcast or bridge', () => {
  const identity = identityOf('89abcdef', '/nowhere');
  const subnet = parseSubnet('10.64.8.0/22');
  const addresses = Array.from({ length: subnet.slots }, (_, slot) => addressOfSlot(subnet, slot));
  expect(new Set(addresses).size).toBe(subnet.slots);
  expect([addresses[0], addresses.at(-1)]).toEqual(['10.64.8.2', '10.64.11.254']);
  expect(addresses).not.toContain(subnet.gateway);
  expect(macOfSlot(identity, 1)).toBe('02:89:ab:cd:00:01');
  expect(() => addressOfSlot(subnet, subnet.slots)).toThrow(
    expect.objectContaining({ code: 'address_exhausted' }),
  );
});

test.each(['10.64.0.0', '10.64.0.1/22', '10.64.0.0/31', '10.64.0/22', 'x/22', '300.0.0.0/22'])(
  '%s is no subnet',
  (text) => {
    expect(() => parseSubnet(text)).toThrow(expect.objectContaining({ code: 'request_invalid' }));
  },
);
