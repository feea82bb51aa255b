import { rangeOf } from '@skerry/network';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addressAt, pickLabSubnet } from './addresses.ts';

const id = fc.integer({ min: 0, max: 0xffffffff }).map((value) => value.toString(16).padStart(8, '0'));

test('the subnet of a lab meets no network of the machine, and none of those that nodes take for their guests', () => {
  const network = fc
    .tuple(
      fc.integer({ min: 0, max: 255 }),
      fc.integer({ min: 0, max: 255 }),
      fc.integer({ min: 12, max: 32 }),
    )
    .map(([a, b, length]) => rangeOf(`10.${a}.${b}.0/${length}`, 'a network'));
  fc.assert(
    fc.property(id, fc.array(network, { maxLength: 7 }), (lab, networks) => {
      const chosen = rangeOf(pickLabSubnet(lab, networks), 'the lab');
      for (const other of [...networks, rangeOf('10.64.0.0/10', 'nodes'), rangeOf('172.16.0.0/12', 'nodes')])
        expect(other.first > chosen.last || other.last < chosen.first).toBe(true);
    }),
  );
});

test('a wide route that covers all of them keeps no lab from being made, and narrow networks are avoided all the same', () => {
  const first = pickLabSubnet('00000000', []);
  const vpn = rangeOf('10.0.0.0/8', 'a route');
  expect(pickLabSubnet('00000000', [vpn])).toBe(first);
  expect(pickLabSubnet('00000000', [vpn, rangeOf(first, 'a network')])).not.toBe(first);
});

test('a lab that outgrows its subnet is told so', () => {
  expect(addressAt('10.200.16.0/20', 4094)).toBe('10.200.31.254');
  expect(() => addressAt('10.200.16.0/20', 4095)).toThrow(/has room for 4094/);
});
