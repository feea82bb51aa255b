// What QEMU is given, and what the kernel inside is told; nothing is started here.
import type { Bytes, Id } from '@skerry/model';
import { describe, expect, test } from 'vitest';
import type { GuestSpec } from '../port.ts';
import { kernelArguments, type LaunchPlan, qemuArguments } from './command-line.ts';

const PLAN: LaunchPlan = {
  machine: 'microvm',
  acceleration: 'tcg',
  memoryMiB: 8,
  cpus: 1,
  hasInitrd: true,
  kernelArguments: 'port=80 name=a,b',
  mac: '02:00:00:00:00:07',
};

/** The values of an option that may be given several times. */
const valuesOf = (args: readonly string[], option: string) =>
  args.flatMap((arg, at) => (arg === option ? [args[at + 1] ?? ''] : []));

describe('the command line of QEMU', () => {
  test.each(['microvm', 'q35'] as const)(
    'has for each %s no devices but ours, a sandbox, and waits to be let go',
    (machine) => {
      const args = qemuArguments({ ...PLAN, machine });
      expect(args).toEqual(expect.arrayContaining(['-nodefaults', '-no-user-config', '-no-reboot', '-S']));
      expect(valuesOf(args, '-sandbox')).toEqual([
        'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
      ]);
      expect(valuesOf(args, '-machine')[0]).toMatch(new RegExp(`^${machine},`));
      expect(valuesOf(args, '-m')).toEqual(['8M']);
      expect(valuesOf(args, '-device').some((one) => one.startsWith('isa-debug-exit,iobase=0x501'))).toBe(
        true,
      );
    },
  );

  test('opens no file and no socket by name: all was opened before it lost its rights', () => {
    const words = qemuArguments(PLAN).join(' ');
    for (const path of words.match(/\/[\w/.-]+/g) ?? []) expect(path).toMatch(/^\/proc\/self\/fd\/\d+$/);
    expect(words).not.toMatch(/path=|script=|ifname=/);
  });

  test('memory of the guest is the size asked for, on a file of its own', () => {
    const args = qemuArguments({ ...PLAN, memoryMiB: 96 });
    const [memory] = valuesOf(args, '-object');
    expect(memory).toContain('memory-backend-memfd,id=ram,size=96M');
    expect(valuesOf(args, '-machine')[0]).toContain('memory-backend=ram');
  });

  test('acceleration decides the processor; one guest processor needs one thread', () => {
    const kvm = qemuArguments({ ...PLAN, acceleration: 'kvm' });
    expect(valuesOf(kvm, '-accel')).toEqual(['kvm']);
    expect(valuesOf(kvm, '-cpu')).toEqual(['host']);
    expect(valuesOf(qemuArguments(PLAN), '-accel')[0]).toMatch(/^tcg,thread=single,/);
    const two = qemuArguments({ ...PLAN, cpus: 2 });
    expect(valuesOf(two, '-accel')[0]).toMatch(/^tcg,thread=multi,/);
    expect(valuesOf(two, '-smp')).toEqual(['2']);
    expect(valuesOf(two, '-cpu')).toEqual(['max']);
  });

  test('the network device suits the machine, carries the address, and is absent without a network', () => {
    const deviceOf = (plan: LaunchPlan) =>
      valuesOf(qemuArguments(plan), '-device').find((one) => one.startsWith('virtio-net'));
    expect(deviceOf(PLAN)).toBe('virtio-net-device,netdev=n0,mac=02:00:00:00:00:07');
    expect(deviceOf({ ...PLAN, machine: 'q35' })).toBe(
      'virtio-net-pci,romfile=,netdev=n0,mac=02:00:00:00:00:07',
    );
    const { mac: _, ...without } = PLAN;
    expect(deviceOf(without)).toBeUndefined();
    expect(qemuArguments(without)).not.toContain('-netdev');
  });

  test('the panic device is there where the machine has a bus for it', () => {
    expect(qemuArguments({ ...PLAN, machine: 'q35' })).toContain('pvpanic');
    expect(qemuArguments(PLAN)).not.toContain('pvpanic');
  });

  test('words for the kernel stay one argument, and are absent where there are none', () => {
    expect(valuesOf(qemuArguments(PLAN), '-append')).toEqual(['port=80 name=a,b']);
    expect(qemuArguments({ ...PLAN, kernelArguments: '' })).not.toContain('-append');
    expect(qemuArguments({ ...PLAN, hasInitrd: false })).not.toContain('-initrd');
  });
});

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
const words = (
  family: string,
  changes: Partial<GuestSpec> = {},
  kind: 'function' | 'unikernel' = 'unikernel',
) =>
  kernelArguments({ ...SPEC, ...changes }, { kind, family, nowMs: 1_700_000_000_000, seed: 'ab'.repeat(32) });
const pebble = (changes: Partial<GuestSpec> = {}) => words('pebble', changes, 'function').split(' ');

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

  test('have no address where there is no network', () => {
    const { network: _, ...rest } = SPEC;
    const options = { kind: 'function', family: 'pebble', nowMs: 0, seed: '' } as const;
    expect(kernelArguments(rest, options)).not.toMatch(/ip=|gw=/);
  });
});

describe('the words for a unikernel', () => {
  const own = { command: ['/app'], args: ['-v', '2'] };
  test.each([
    ['unikraft', 'thermo-1 netdev.ip=10.64.3.7/20:10.64.0.1:10.64.0.2 -- /app -v 2'],
    ['osv', '--ip=eth0,10.64.3.7,255.255.240.0 --defaultgw=10.64.0.1 --nameserver=10.64.0.2 /app -v 2'],
    ['solo5', '--ipv4=10.64.3.7/20 --ipv4-gateway=10.64.0.1 /app -v 2'],
    ['generic', '/app -v 2'],
  ])('give a static address in the way of %s', (family, expected) => {
    expect(words(family, own)).toBe(expected);
  });

  test.each(['osv', 'solo5', 'unikraft', 'generic'])('%s is told none when it asks by DHCP', (family) => {
    expect(words(family, { ...own, addressing: 'dhcp' })).toBe('/app -v 2');
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
