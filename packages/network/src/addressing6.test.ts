import { expect, test } from 'vitest';
import { parseSubnet } from './addressing.ts';
import { address6Of, parseSubnet6, subnet6Of } from './addressing6.ts';

const subnet = parseSubnet('10.64.8.0/22');

test('a node network of IPv6 follows from identity and subnet, and is another one where either is', () => {
  expect(subnet6Of({ id: '0123abcd' }, subnet)).toEqual({
    cidr: 'fd01:23ab:cd0a:4008::/64',
    gateway: 'fd01:23ab:cd0a:4008::1',
    prefixLength: 64,
  });
  const others = [
    subnet6Of({ id: '0123abce' }, subnet),
    subnet6Of({ id: '0123abcd' }, parseSubnet('10.64.12.0/22')),
    subnet6Of({ id: '00000000' }, parseSubnet('10.0.0.0/24')),
  ];
  expect(new Set(others.map(({ cidr }) => cidr)).size).toBe(3);
  for (const { cidr } of others) expect(cidr).not.toBe('fd01:23ab:cd0a:4008::/64');
});

test('a guest has the same number in both networks', () => {
  const subnet6 = subnet6Of({ id: '0123abcd' }, subnet);
  expect(address6Of(subnet6, subnet, '10.64.8.2')).toBe('fd01:23ab:cd0a:4008::2');
  expect(address6Of(subnet6, subnet, '10.64.11.254')).toBe('fd01:23ab:cd0a:4008::3fe');
  expect(() => address6Of(subnet6, subnet, '10.64.12.1')).toThrow(/not in the subnet/);
});

test.each(['10.64.8.0/22', 'fd01::/48', 'fd01:2:3:4::7/64', 'fd01:2:3:4::/64; flush', ''])(
  '"%s" is no subnet',
  (text) => expect(() => parseSubnet6(text)).toThrow(expect.objectContaining({ code: 'request_invalid' })),
);
