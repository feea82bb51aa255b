import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ipv6At, ipv6Groups, ipv6Text, SERVICE_PREFIX6, serviceAddress6 } from './ipv6.ts';

const group = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff }));
const groups = fc.array(group, { minLength: 8, maxLength: 8 });

test("an address that was written is read as the same one, in the kernel's form or in full", () => {
  fc.assert(
    fc.property(groups, (all) => {
      expect(ipv6Groups(ipv6Text(all))).toEqual(all);
      expect(ipv6Groups(all.map((one) => one.toString(16)).join(':'))).toEqual(all);
      expect(ipv6Text(ipv6Groups(ipv6Text(all))!)).toBe(ipv6Text(all));
    }),
  );
});

test.each([
  '',
  '::g',
  '1::2::3',
  '1:2:3',
  '1:2:3:4:5:6:7:8:9',
  'fe80::1%eth0',
  '10.0.0.1',
  '12345::',
  '::1 drop',
])('"%s" is no address', (text) => expect(ipv6Groups(text)).toBeUndefined());

test('each number has an address of its own in a /64, and what is no /64 has none', () => {
  expect(ipv6At('fd01:2:3:4::/64', 2)).toBe('fd01:2:3:4::2');
  expect(ipv6At('fd01:2:3:4::/64', 0x10002)).toBe('fd01:2:3:4::1:2');
  for (const wrong of ['fd01::/48', 'fd01:2:3:4::1/64', 'fd01:2:3:4::', '10.0.0.0/64'])
    expect(ipv6At(wrong, 2)).toBeUndefined();
});

test('services of different addresses have different ones in the other family, all of one range', () => {
  expect(serviceAddress6('198.18.0.1')).toBe('fdd2:6dd7:ba15:1::c612:1');
  const address = fc
    .tuple(fc.constantFrom(18, 19), fc.nat(255), fc.nat(255))
    .map((rest) => `198.${rest.join('.')}`);
  fc.assert(
    fc.property(address, address, (one, other) => {
      expect(serviceAddress6(one) === serviceAddress6(other)).toBe(one === other);
      expect(ipv6Groups(serviceAddress6(one))!.slice(0, 4)).toEqual(
        ipv6Groups(SERVICE_PREFIX6.replace('/64', ''))!.slice(0, 4),
      );
    }),
  );
});
