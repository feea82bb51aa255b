/**
 * How QEMU is set up for each family: the machine that suits it, its network device, the port through which it ends.
 * Measured under QEMU 7.2 with TCG, and the projects' own start scripts. Pure.
 */
import type { Family, Machine } from '@skerry/images';

export interface FamilyRules {
  /** The first that the kernel can boot on; families that are not listed by name take what their boot entry suggests. */
  readonly machines?: readonly Machine[];
  /** Options of the machine besides ours. */
  readonly machineOptions?: string;
  /** It halts where there is neither KVM's clock nor this timer. */
  readonly needsHpet?: boolean;
  /** Options of virtio-net-pci. */
  readonly network?: string;
  /** PCI slot of its first device on machine pc: it looks for its devices in their order from there on. */
  readonly firstSlot?: number;
  /** Where isa-debug-exit listens. */
  readonly exitPort: { readonly base: number; readonly bytes: number };
  readonly randomDevice?: boolean;
  /** It hears of a power button, or may. */
  readonly powerButton: boolean;
}

const PORT = { base: 0x501, bytes: 2 } as const;
const ACPI = { exitPort: PORT, powerButton: true } as const;

export const FAMILY_RULES = {
  pebble: { exitPort: PORT, powerButton: false },
  // On microvm some builds fail over the memory map.
  unikraft: { ...ACPI, machines: ['q35'] },
  // Its drivers are for legacy virtio over PCI; it never powers itself off by ACPI alone.
  solo5: { machines: ['pc'], machineOptions: 'acpi=off', firstSlot: 2, exitPort: PORT, powerButton: false },
  hermit: {
    ...ACPI,
    machines: ['q35'],
    network: 'disable-legacy=on',
    exitPort: { base: 0xf4, bytes: 4 },
  },
  // On microvm it needs the clock of KVM.
  osv: { ...ACPI, machines: ['q35'], needsHpet: true, randomDevice: true },
  nanos: { ...ACPI, machines: ['q35'], needsHpet: true, randomDevice: true },
  includeos: { ...ACPI, machines: ['q35'] },
  rumprun: { ...ACPI, machines: ['pc'], network: 'disable-modern=on' },
  mewz: { ...ACPI, machines: ['q35'], network: 'disable-legacy=on' },
  linux: { ...ACPI, machines: ['q35'], needsHpet: true, randomDevice: true },
  efi: ACPI,
  generic: ACPI,
} as const satisfies Record<Family, FamilyRules>;

export const rulesOf = (family: Family): FamilyRules => FAMILY_RULES[family];

/** Of what the kernel can boot on, what the family does best on. */
export function machineFor(family: Family, bootable: readonly Machine[]): Machine {
  if (bootable.includes('virt')) return 'virt';
  const wanted = rulesOf(family).machines ?? bootable;
  return wanted.find((one) => bootable.includes(one)) ?? wanted[0] ?? 'q35';
}
