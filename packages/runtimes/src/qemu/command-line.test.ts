// What QEMU is given; nothing is started here.
import { describe, expect, test } from 'vitest';
import { type LaunchPlan, type PlannedDisk, qemuCommand } from './command-line.ts';
import { rulesOf } from './families/rules.ts';

const PLAN: LaunchPlan = {
  machine: 'microvm',
  acceleration: 'tcg',
  memoryMiB: 8,
  cpus: 1,
  kernel: '/k',
  initrd: '/i',
  kernelArguments: 'port=80 name=a,b',
  mac: '02:00:00:00:00:07',
};

const OVERLAY: PlannedDisk = {
  ...{ path: '/d', format: 'qcow2', boots: true },
  base: { path: '/b', format: 'qcow2' },
};
const qemuArguments = (plan: LaunchPlan) => qemuCommand(plan).args;

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
    const words = qemuArguments({ ...PLAN, disks: [OVERLAY] }).join(' ');
    for (const path of words.match(/\/[\w/.-]+/g) ?? [])
      expect(path).toMatch(/^\/(?:proc\/self\/fd|dev\/fdset)\/\d+$/);
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
    const { initrd: _, ...without } = PLAN;
    expect(qemuArguments(without)).not.toContain('-initrd');
  });

  test('what is handed over has the numbers by which it is named', () => {
    const { handedOver, args } = qemuCommand({ ...PLAN, disks: [OVERLAY] });
    expect(handedOver).toEqual([
      { as: 'open', path: '/k' },
      { as: 'open', path: '/i' },
      { as: 'open', path: '/b' },
      { as: 'disk', path: '/d' },
    ]);
    expect(valuesOf(args, '-kernel')).toEqual(['/proc/self/fd/7']);
    expect(valuesOf(args, '-initrd')).toEqual(['/proc/self/fd/8']);
    expect(valuesOf(args, '-add-fd')).toEqual(['fd=9,set=9', 'fd=10,set=10']);
  });

  test('nothing lies under the image of a disk, whatever its header says, and nobody writes it', () => {
    const nodes = valuesOf(qemuArguments({ ...PLAN, disks: [OVERLAY] }), '-blockdev').map((text) =>
      JSON.parse(text),
    );
    expect(nodes[0]).toMatchObject({ driver: 'qcow2', backing: null, 'read-only': true });
    expect(nodes[1]).toMatchObject({ driver: 'qcow2', backing: 'base0', 'read-only': false });
  });

  test('the threads that write disks stay within the limit of the group', () => {
    expect(qemuArguments({ ...PLAN, disks: [OVERLAY] })).toContain('main-loop,id=loop,thread-pool-max=8');
    expect(qemuArguments(PLAN).join(' ')).not.toContain('thread-pool');
  });

  test('without a kernel it starts from its disk', () => {
    const { kernel: _k, initrd: _i, ...without } = PLAN;
    const args = qemuArguments({ ...without, machine: 'q35', disks: [OVERLAY] });
    expect(args).not.toContain('-kernel');
    expect(valuesOf(args, '-device')).toContain('virtio-blk-pci,drive=disk0,werror=report,bootindex=0');
  });

  test('devices stand in the slots and in the order that the manifest of Solo5 has', () => {
    const disk = { path: '/d', format: 'raw', boots: false } as const;
    const plan = { ...PLAN, machine: 'pc', disks: [disk, disk], rules: rulesOf('solo5') } as const;
    const args = qemuArguments({ ...plan, deviceOrder: ['block', 'net', 'block'] });
    const virtio = valuesOf(args, '-device').filter((one) => one.startsWith('virtio'));
    expect(virtio.map((one) => /^virtio-(\w+).*addr=(0x\w+)$/.exec(one)?.slice(1))).toEqual([
      ['blk', '0x2'],
      ['net', '0x3'],
      ['blk', '0x4'],
    ]);
    expect(valuesOf(args, '-machine')[0]).toMatch(/^pc,.*acpi=off/);
  });

  test.each([
    ['hermit', /disable-legacy=on/, 'isa-debug-exit,iobase=0xf4,iosize=4'],
    ['mewz', /disable-legacy=on/, 'isa-debug-exit,iobase=0x501,iosize=2'],
    ['rumprun', /disable-modern=on/, 'isa-debug-exit,iobase=0x501,iosize=2'],
    ['unikraft', /^virtio-net-pci,romfile=,netdev=n0,mac=[0-9:]+$/, 'isa-debug-exit,iobase=0x501,iosize=2'],
  ] as const)('%s has its own network device and port to end', (family, network, port) => {
    const args = qemuArguments({ ...PLAN, machine: 'q35', rules: rulesOf(family) });
    const devices = valuesOf(args, '-device');
    expect(devices.find((one) => one.startsWith('virtio-net'))).toMatch(network);
    expect(devices).toContain(port);
  });

  test('words for a module are its own, with commas doubled', () => {
    const args = qemuArguments({ ...PLAN, machine: 'q35', initrdWords: 'a,b c' });
    expect(valuesOf(args, '-initrd')).toEqual(['/proc/self/fd/8 a,,b c']);
  });

  test('a timer that some halt without is there for those alone', () => {
    const machineOf = (family: 'osv' | 'generic') =>
      valuesOf(qemuArguments({ ...PLAN, machine: 'q35', rules: rulesOf(family) }), '-machine')[0];
    expect(machineOf('generic')).toContain('hpet=off');
    expect(machineOf('osv')).not.toContain('hpet=off');
  });
});
