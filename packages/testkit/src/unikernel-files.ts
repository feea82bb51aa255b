/**
 * Minimal files of each kind of unikernel, made of a few bytes: enough to be recognised, not to do anything. With knobs for
 * lies: wrong lengths, cut-off tables, foreign machines.
 */
const BASE = 0x100000;

export interface NoteSpec {
  readonly owner: string;
  readonly type: number;
  readonly descriptor: Buffer;
}

export interface ElfSpec {
  readonly bits?: 32 | 64;
  /** e_machine: 62 is x86-64. */
  readonly machine?: number;
  readonly osAbi?: number;
  readonly type?: number;
  readonly notes?: readonly NoteSpec[];
  /** Notes that a section has and no segment. */
  readonly sectionNotes?: readonly NoteSpec[];
  readonly sections?: Readonly<Record<string, Buffer>>;
  readonly interpreter?: string;
  /** Flags; with bit 16, addresses follow that fit the file. */
  readonly multiboot?: number;
  readonly body?: Buffer;
}

const u16 = (value: number) => {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
};
export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
};
const padded = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);

export const noteOf = ({ owner, type, descriptor }: NoteSpec): Buffer =>
  Buffer.concat([
    ...[u32(owner.length + 1), u32(descriptor.length), u32(type)],
    ...[padded(Buffer.from(`${owner}\0`)), padded(descriptor)],
  ]);

const MAGIC = 0x1badb002;
/** The header at `at` of a file that is loaded at BASE and `size` long. */
function multibootHeader(flags: number, at: number, size: number): Buffer {
  const head = [u32(MAGIC), u32(flags), u32(-(MAGIC + flags))];
  const addresses = [BASE + at, BASE, BASE + size, BASE + size, BASE].map(u32);
  return Buffer.concat(flags & 0x10000 ? [...head, ...addresses] : head);
}

interface Part {
  readonly name: string;
  readonly data: Buffer;
  readonly segment?: number;
  readonly section?: number;
}

/** An ELF file with all its parts in one loaded segment. */
export function elfFile(spec: ElfSpec): Buffer {
  const {
    bits = 64,
    machine = bits === 64 ? 62 : 3,
    osAbi = 0,
    type = 2,
    notes = [],
    sectionNotes = [],
  } = spec;
  const wide = bits === 64;
  const word = (value: number) => (wide ? Buffer.concat([u32(value), u32(value / 2 ** 32)]) : u32(value));
  const parts: Part[] = [
    ...(spec.multiboot === undefined ? [] : [{ name: '.multiboot', data: Buffer.alloc(32), section: 1 }]),
    ...notes.map((note, i) => ({ name: `.note.${i}`, data: noteOf(note), segment: 4, section: 7 })),
    ...sectionNotes.map((note, i) => ({ name: `.note.extra.${i}`, data: noteOf(note), section: 7 })),
    ...(spec.interpreter === undefined
      ? []
      : [{ name: '.interp', data: Buffer.from(`${spec.interpreter}\0`), segment: 3, section: 1 }]),
    ...Object.entries(spec.sections ?? {}).map(([name, data]) => ({ name, data, section: 1 })),
    ...(spec.body ? [{ name: '.text', data: spec.body, section: 1 }] : []),
  ];
  const names = Buffer.from(['', ...parts.map(({ name }) => name), '.shstrtab', ''].join('\0'));
  const nameAt = (name: string) => names.indexOf(`\0${name}\0`) + 1;
  const segments = parts.filter(({ segment }) => segment !== undefined);
  const headBytes = wide ? 64 : 52;
  const tableBytes = wide ? 56 : 32;
  let at = headBytes + tableBytes * (1 + segments.length);
  const placed = parts.map((part) => {
    const here = at;
    at += padded(part.data).length;
    return { ...part, at: here };
  });
  const namesAt = at;
  const sectionsAt = padded(names).length + namesAt;
  const sectionCount = parts.length + 2;
  const program = (kind: number, from: number, size: number) =>
    wide
      ? Buffer.concat([u32(kind), u32(7), ...[from, BASE + from, BASE + from, size, size, 4].map(word)])
      : Buffer.concat([kind, from, BASE + from, BASE + from, size, size, 7, 4].map(u32));
  const section = (name: string, kind: number, from: number, size: number) =>
    wide
      ? Buffer.concat([
          u32(nameAt(name)),
          u32(kind),
          ...[2, BASE + from, from, size].map(word),
          u32(0),
          u32(0),
          word(4),
          word(0),
        ])
      : Buffer.concat([nameAt(name), kind, 2, BASE + from, from, size, 0, 0, 4, 0].map(u32));
  const head = Buffer.concat([
    Buffer.from([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1, osAbi, 0, 0, 0, 0, 0, 0, 0, 0]),
    ...[u16(type), u16(machine), u32(1), word(BASE), word(headBytes), word(sectionsAt), u32(0)],
    ...[u16(headBytes), u16(tableBytes), u16(1 + segments.length)],
    ...[u16(wide ? 64 : 40), u16(sectionCount), u16(sectionCount - 1)],
  ]);
  const file = Buffer.concat([
    ...[head, program(1, 0, namesAt)],
    ...placed
      .filter((part) => part.segment !== undefined)
      .map((part) => program(part.segment!, part.at, part.data.length)),
    ...placed.map(({ data }) => padded(data)),
    padded(names),
    Buffer.alloc(wide ? 64 : 40),
    ...placed.map((part) => section(part.name, part.section ?? 1, part.at, part.data.length)),
    section('.shstrtab', 3, namesAt, names.length),
  ]);
  const multiboot = placed.find(({ name }) => name === '.multiboot');
  if (multiboot && spec.multiboot !== undefined)
    multibootHeader(spec.multiboot, multiboot.at, file.length).copy(file, multiboot.at);
  return file;
}

export const PVH: NoteSpec = { owner: 'Xen', type: 18, descriptor: u32(BASE) };
export const xenGuestOs = (name: string): NoteSpec => ({
  owner: 'Xen',
  type: 6,
  descriptor: Buffer.from(`${name}\0`),
});

/** Unikraft's list of what an image was built of. */
export function libinfo(
  libraries: readonly string[],
  version = '0.16.3~e453b74a',
  codename = 'Telesto',
): Buffer {
  const record = (type: number, text: string) =>
    Buffer.concat([u16(type), u32(6 + text.length + 1), Buffer.from(`${text}\0`)]);
  const list = (records: readonly Buffer[]) => {
    const body = Buffer.concat(records);
    return Buffer.concat([u32(6 + body.length), u16(1), body]);
  };
  return Buffer.concat([
    list([record(6, version), record(8, codename), record(0xb, 'gcc 13.2.0')]),
    ...libraries.map((name) => list([record(1, name)])),
  ]);
}

export const SOLO5_TARGETS = ['none', 'hvt', 'spt', 'virtio', 'muen', 'genode', 'xen'] as const;
export interface Solo5DeviceSpec {
  readonly name: string;
  readonly type: 'block' | 'net';
}

export function solo5Notes(
  target: (typeof SOLO5_TARGETS)[number],
  devices: readonly Solo5DeviceSpec[] = [{ name: 'service', type: 'net' }],
): NoteSpec[] {
  const entry = (name: string, type: number) =>
    Buffer.concat([Buffer.from(name.padEnd(68, '\0')), u32(type), Buffer.alloc(32)]);
  const entries = [
    entry('', 2 ** 30),
    ...devices.map(({ name, type }) => entry(name, type === 'net' ? 2 : 1)),
  ];
  return [
    {
      ...{ owner: 'Solo5', type: 0x31494241 },
      descriptor: Buffer.concat([u32(SOLO5_TARGETS.indexOf(target)), u32(3), Buffer.alloc(8)]),
    },
    {
      ...{ owner: 'Solo5', type: 0x3154464d },
      descriptor: Buffer.concat([u32(0), u32(1), u32(entries.length), ...entries]),
    },
  ];
}

/** A Linux boot header with nothing behind it. */
export function bzImage(version = '6.1.0-test (a@b) #1', protocol = 0x20f): Buffer {
  const file = Buffer.alloc(4 * 512);
  file[0x1f1] = 1; // one sector of setup
  file.writeUInt32LE(64, 0x1f4); // 1024 bytes
  file.writeUInt16LE(0xaa55, 0x1fe);
  file.write('HdrS', 0x202);
  file.writeUInt16LE(protocol, 0x206);
  file.writeUInt16LE(0x300 - 0x200, 0x20e);
  file.write(version, 0x300);
  return file;
}

export function arm64Image(): Buffer {
  const file = Buffer.alloc(4096);
  file.write('ARM\x64', 0x38, 'latin1');
  return file;
}

export function efiProgram(subsystem = 10): Buffer {
  const file = Buffer.alloc(1024);
  file.write('MZ');
  file.writeUInt32LE(0x80, 0x3c);
  file.write('PE\0\0', 0x80);
  file.writeUInt16LE(0x8664, 0x84);
  file.writeUInt16LE(0x20b, 0x80 + 24);
  file.writeUInt16LE(subsystem, 0x80 + 24 + 68);
  return file;
}

/** One valid file of each family and build that is known, by a name that says what it is. */
export const UNIKERNEL_FILES: Readonly<Record<string, () => Buffer>> = {
  'Unikraft for QEMU': () =>
    elfFile({
      ...{ bits: 32, multiboot: 0 },
      sections: {
        '.uk_libinfo': libinfo(['libvirtio_net', 'libvirtio_pci', 'liblwip']),
        '.uk_inittab': Buffer.alloc(16),
      },
    }),
  'Unikraft for Firecracker': () => elfFile({ sections: { '.uk_libinfo': libinfo(['libukboot']) } }),
  'Unikraft for Xen': () =>
    elfFile({ sections: { '.uk_bootinfo': Buffer.alloc(8) }, notes: [xenGuestOs('Unikraft')] }),
  'Solo5 for hvt': () => elfFile({ notes: solo5Notes('hvt'), interpreter: '/nonexistent/solo5/' }),
  'Solo5 for spt': () =>
    elfFile({
      notes: solo5Notes('spt', [
        { name: 'service', type: 'net' },
        { name: 'storage', type: 'block' },
      ]),
    }),
  'Solo5 for virtio': () => elfFile({ notes: solo5Notes('virtio'), multiboot: 0x10003 }),
  'Solo5 for Xen': () => elfFile({ notes: [...solo5Notes('xen'), PVH], multiboot: 0x10003 }),
  'Hermit application': () =>
    elfFile({
      osAbi: 255,
      type: 3,
      sectionNotes: [{ owner: 'HERMIT', type: 0x5a00, descriptor: Buffer.from([4]) }],
    }),
  'OSv loader': () => elfFile({ osAbi: 3, notes: [xenGuestOs('osv'), PVH] }),
  'Nanos kernel': () => elfFile({ notes: [PVH], body: Buffer.from('....NVMTFS....') }),
  'IncludeOS chain loader': () => elfFile({ bits: 32, multiboot: 3, body: Buffer.from('IncludeOS v0.16') }),
  rumprun: () => elfFile({ bits: 32, multiboot: 3, body: Buffer.from('rump kernel bare metal bootstrap') }),
  Mewz: () => elfFile({ bits: 32, multiboot: 3, body: Buffer.from('/src/mewz.zig') }),
  'own kernel with its note': () =>
    elfFile({ notes: [PVH, { owner: 'Skerry', type: 1, descriptor: Buffer.from('pebble\0') }] }),
  'Linux as ELF with PVH': () => elfFile({ notes: [xenGuestOs('linux'), PVH] }),
  'Linux bzImage': () => bzImage(),
  'generic PVH': () => elfFile({ notes: [PVH] }),
  'generic multiboot ELF32': () => elfFile({ bits: 32, multiboot: 0 }),
  'generic multiboot with addresses': () => elfFile({ multiboot: 0x10003 }),
  'flat multiboot': () => {
    const file = Buffer.alloc(4096);
    multibootHeader(0x10003, 64, file.length).copy(file, 64);
    return file;
  },
  'arm64 Image': () => arm64Image(),
  'Unikraft for arm64': () =>
    elfFile({ machine: 183, sections: { '.uk_libinfo': libinfo(['libvirtio_net']) } }),
  'UEFI program': () => efiProgram(),
};
