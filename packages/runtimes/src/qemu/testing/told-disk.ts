/**
 * A disk whose boot sector prints the text that stands at byte 512, as OSv's loader reads it, and then ends: by powering off,
 * or through isa-debug-exit as Nanos does. 16-bit code (Intel SDM volume 2).
 */
const SIZE_BYTES = 1024 * 1024; // the BIOS boots none smaller than a cylinder, 504 KiB
const HALT = [0xfa, 0xf4, 0xeb, 0xfc]; // cli; hlt; back
const u16 = (value: number) => [value & 255, (value >> 8) & 255];
const out16 = (port: number, value: number) => [0xba, ...u16(port), 0xb8, ...u16(value), 0xef];
/** int 0x13: `sectors` from the second one on, at 0x8000. */
const disk = (action: number, sectors: number) => [
  ...[0xb8, sectors, action, 0xbb, 0x00, 0x80],
  ...[0xb9, 0x02, 0x00, 0xba, 0x80, 0x00, 0xcd, 0x13],
];

const MARKS = { nanos: Buffer.from('NVMTFS'), osv: Buffer.from('adbeadde', 'hex') };
const PARTITION_SECTOR = 1024;

/** With one partition that has the mark of its family. */
export function toldDisk(
  family: keyof typeof MARKS,
  text: string,
  end: 'power-off' | { readonly exit: number },
): Buffer {
  const code = [
    ...[0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, 0xfb, 0xfc], // segments 0; sti; cld
    ...disk(0x02, 16), // read
    ...[0xbe, 0x00, 0x80, 0xba, ...u16(0x3f8)], // si = text, dx = serial port
    ...[0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8], // until 0: lodsb; out
    ...[0xb0, 0x0a, 0xee], // line end
    ...(end === 'power-off' ? out16(0x604, 0x2000) : out16(0x501, end.exit)),
    ...HALT,
  ];
  const bytes = Buffer.alloc(SIZE_BYTES);
  Buffer.from(code).copy(bytes);
  bytes[446 + 4] = 0x83; // the first entry of the partition table: kind, first sector, sectors
  bytes.writeUInt32LE(PARTITION_SECTOR, 446 + 8);
  bytes.writeUInt32LE(SIZE_BYTES / 512 - PARTITION_SECTOR, 446 + 12);
  MARKS[family].copy(bytes, PARTITION_SECTOR * 512);
  bytes.writeUInt16LE(0xaa55, 510);
  bytes.write(text, 512);
  return bytes;
}
