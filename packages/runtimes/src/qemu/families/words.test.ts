// What the kernel inside is told, in the words of each family.
import type { Family } from '@skerry/images';
import type { Bytes, Id } from '@skerry/model';
import { describe, expect, test } from 'vitest';
import type { GuestSpec } from '../../port.ts';
import { checkWords, type ImageWords, toldOf } from './told.ts';
import { familyWords } from './words.ts';

const SPEC: GuestSpec = {
  uid: '0'.repeat(26) as Id<'instance'>,
  name: 'thermo-1',
  project: 'default',
  workload: 'thermo',
  runtime: 'unikernel',
  incarnation: 'one',
  imageDigest: '',
  cpus: 1,
  memoryBytes: (8 * 1024 * 1024) as Bytes,
  pids: 1,
  env: {},
  network: {
    kind: 'tap',
    device: 'tap0',
    uid: '0'.repeat(26) as Id<'instance'>,
    address: '10.64.3.7',
    prefixLength: 20,
    gateway: '10.64.0.1',
    dns: '10.64.0.2',
    mac: '02:00:00:00:00:07',
    mtu: 1500,
  },
  addressing: 'static',
  ports: [],
  volumes: [],
  security: { readOnlyRoot: false, capabilities: [], userNamespace: false },
};
const words = (family: Family, changes: Partial<GuestSpec> = {}, image: ImageWords = {}) =>
  familyWords(
    family,
    toldOf({ ...SPEC, ...changes }, image, { nowMs: 1_700_000_000_000, seed: 'ab'.repeat(32) }),
  );
const pebble = (changes: Partial<GuestSpec> = {}) => words('pebble', changes).split(' ');

describe('the words for a function', () => {
  test('tell its address, its port, its name, the time and chance', () => {
    expect(pebble()).toEqual([
      'ip=10.64.3.7/20',
      'gw=10.64.0.1',
      'port=8080',
      'name=thermo-1',
      'time=1700000000000',
      `seed=${'ab'.repeat(32)}`,
    ]);
  });

  test('tell the first TCP port where there is one', () => {
    const ports = [
      { name: 'dns', port: 53, protocol: 'udp' },
      { name: 'web', port: 9000, protocol: 'tcp' },
    ] as const;
    expect(pebble({ ports })).toContain('port=9000');
  });

  test('carry an environment value whole, whatever is in it', () => {
    const value = `two words=1 'quoted' "double" 100% ü\nname=evil`;
    const told = pebble({ env: { NOTE: value } });
    const found = told.find((word) => word.startsWith('env.NOTE='))!;
    expect(decodeURIComponent(found.slice('env.NOTE='.length))).toBe(value);
    expect(found).not.toMatch(/[\s'"]/);
    expect(told.filter((word) => word.startsWith('name='))).toEqual(['name=thermo-1']);
  });

  test('tell it its address also where others would ask by DHCP, which it can not', () => {
    expect(pebble({ addressing: 'dhcp' })).toContain('ip=10.64.3.7/20');
  });

  test('have no address where there is no network', () => {
    const { network: _, ...rest } = SPEC;
    expect(familyWords('pebble', toldOf(rest, {}, { nowMs: 0, seed: '' }))).not.toMatch(/ip=|gw=/);
  });
});

const own = { command: ['/app'], args: ['-v', '2'] };

describe('the words for a unikernel', () => {
  test.each<[Family, string]>([
    ['unikraft', 'netdev.ip=10.64.3.7/20:10.64.0.1:10.64.0.2 -- /app -v 2'],
    [
      'osv',
      '--ip=eth0,10.64.3.7,255.255.240.0 --defaultgw=10.64.0.1 --nameserver=10.64.0.2 --power-off-on-abort /app -v 2',
    ],
    ['solo5', '--ipv4=10.64.3.7/20 --ipv4-gateway=10.64.0.1 /app -v 2'],
    ['hermit', '-ip 10.64.3.7 -mask 255.255.240.0 -gateway 10.64.0.1 -- /app -v 2'],
    [
      'rumprun',
      '{"cmdline":"thermo-1 /app -v 2","net":{"if":"vioif0","type":"inet","method":"static","addr":"10.64.3.7","mask":"20","gw":"10.64.0.1"}}',
    ],
    ['mewz', 'ip=10.64.3.7/20 gateway=10.64.0.1 /app -v 2'],
    [
      'linux',
      'console=ttyS0 panic=-1 ip=10.64.3.7::10.64.0.1:255.255.240.0:thermo-1:eth0:off:10.64.0.2 /app -v 2',
    ],
    ['includeos', '/app -v 2'],
    ['generic', '/app -v 2'],
  ])('give a static address in the way of %s', (family, expected) => {
    expect(words(family, own)).toBe(expected);
  });

  test.each<[Family, string]>([
    ['unikraft', '-- /app -v 2'],
    ['osv', '--power-off-on-abort /app -v 2'],
    ['solo5', '/app -v 2'],
    ['hermit', '-- /app -v 2'],
    ['rumprun', '{"cmdline":"thermo-1 /app -v 2","net":{"if":"vioif0","type":"inet","method":"dhcp"}}'],
    ['mewz', '/app -v 2'],
    ['generic', '/app -v 2'],
  ])('%s is told none when it asks by DHCP', (family, expected) => {
    expect(words(family, { ...own, addressing: 'dhcp' })).toBe(expected);
  });

  test.each<[Family, RegExp]>([
    ['unikraft', /env\.vars=\[ A=1 'B=two "words"' \] --/],
    ['osv', /--env=A=1 "--env=B=two \\"words\\""/],
    ['hermit', /env=A=1 "env=B=two \\"words\\""/],
    ['rumprun', /"env":"A=1","env":"B=two \\"words\\""/],
    ['linux', /A=1 'B=two "words"'/],
  ])('carry variables in the way of %s', (family, expected) => {
    expect(words(family, { env: { A: '1', B: 'two "words"' } })).toMatch(expected);
  });

  test.each<Family>(['solo5', 'mewz', 'generic', 'includeos'])(
    '%s has no way to be told variables: that is said',
    (family) => {
      expect(() => words(family, { env: { A: '1' } })).toThrow(/environment variables \(A\)/);
    },
  );

  test('a Unikraft from before 0.16.1 is told its address in the words of its time', () => {
    const old = words('unikraft', {}, { version: '0.16.0~abc' });
    expect(old).toContain(
      'netdev.ipv4_addr=10.64.3.7 netdev.ipv4_gw_addr=10.64.0.1 netdev.ipv4_subnet_mask=255.255.240.0',
    );
    expect(words('unikraft', {}, { version: '0.16.1' })).toContain('netdev.ip=');
  });

  test('a first file system is mounted by Unikraft', () => {
    expect(words('unikraft', {}, { hasInitrd: true })).toContain(
      'vfs.fstab=[ "initrd0:/:extract::ramfs=1:" ]',
    );
  });

  test("the image's own words count where the manifest has none, and its variables below the manifest's", () => {
    const image = { command: ['/nginx', '-c', 'x'], env: ['A=image', 'C=3'] };
    expect(words('unikraft', {}, image)).toMatch(/-- \/nginx -c x$/);
    expect(words('unikraft', { args: ['-h'] }, image)).toMatch(/-- -h$/);
    expect(words('unikraft', { env: { A: 'own' } }, image)).toContain('env.vars=[ A=own C=3 ]');
  });

  test('a word with a blank stays one word, and one with both quotes is refused where there are no escapes', () => {
    expect(words('osv', { command: ['/app', 'two words'] })).toMatch(/\/app "two words"$/);
    expect(words('unikraft', { command: ['/app', 'two words'] })).toMatch(/\/app "two words"$/);
    expect(() => words('linux', { command: [`'"`] })).toThrow(/both kinds of quotes/);
    expect(() => checkWords('a\nb', 'g')).toThrow(/line end/);
  });

  test.each([
    [0, '0.0.0.0'],
    [1, '128.0.0.0'],
    [24, '255.255.255.0'],
    [32, '255.255.255.255'],
  ])('a prefix of %i bits is the mask %s', (prefixLength, mask) => {
    const network = { ...SPEC.network!, prefixLength };
    expect(words('osv', { network })).toContain(`,${mask} `);
  });
});
