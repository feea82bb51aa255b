/** What is known of a unikernel's image: how it boots, of which family it is, what it needs, and whether Skerry can start it. */

/** Machines of QEMU; `virt` is the one for arm64. */
export type Machine = 'microvm' | 'q35' | 'pc' | 'virt';

export const FAMILIES = [
  'unikraft',
  'solo5',
  'hermit',
  'osv',
  'nanos',
  'includeos',
  'rumprun',
  'mewz',
  'linux',
  'pebble',
  'efi',
  'generic',
] as const;
export type Family = (typeof FAMILIES)[number];

/**
 * What a node must have: programs (`solo5-hvt`, `solo5-spt`), working hardware acceleration (`kvm`), instructions of the
 * processor that guests get (`rdrand`, `rdseed`), an emulator of another processor (`qemu-arm64`). Whether it is there, the node tells when the guest is made.
 */
export type Need = 'solo5-hvt' | 'solo5-spt' | 'kvm' | 'rdrand' | 'rdseed' | 'qemu-arm64';

export interface UnikraftFacts {
  readonly version?: string;
  readonly codename?: string;
  readonly compiler?: string;
  readonly libraries: readonly string[];
}

export interface Solo5Device {
  readonly name: string;
  readonly type: 'block' | 'net';
}

export interface Solo5Facts {
  readonly target: string;
  readonly abiVersion: number;
  /** In the order of the manifest, which is the order of the PCI slots for the target virtio. */
  readonly devices: readonly Solo5Device[];
}

export interface KernelFacts {
  readonly format: 'elf64' | 'elf32' | 'flat' | 'bzimage' | 'arm64-image' | 'pe';
  /** `none`: nothing here boots it, and `why` tells. */
  readonly boot: 'pvh' | 'multiboot' | 'linux' | 'tender' | 'none';
  /** Machines of QEMU that can boot it; the first is tried. */
  readonly machines: readonly Machine[];
  readonly family: Family;
  readonly arch: 'amd64' | 'arm64';
  readonly entry?: string;
  /** Whether any node can start it as it is. */
  readonly runnable: boolean;
  /** What is missing where it is not. */
  readonly why?: string;
  readonly needs?: readonly Need[];
  /** Of the kernel, in its own words. */
  readonly version?: string;
  /** False: it has no driver for a network device that Skerry can give it. */
  readonly network?: boolean;
  readonly unikraft?: UnikraftFacts;
  readonly solo5?: Solo5Facts;
  readonly hermit?: { readonly entryVersion?: number };
  readonly linux?: { readonly protocol: string };
}
