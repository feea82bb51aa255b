/**
 * Disks of one boot sector, for tests: the BIOS starts it in 16-bit mode (Intel SDM volume 2 has the codes), it prints a line
 * on the serial port and then does one thing. On q35 the firmware puts ACPI's registers at 0x600 (PM1_STS), 0x602 (PM1_EN)
 * and 0x604 (PM1_CNT); pvpanic listens at 0x505 (QEMU, docs/specs/pvpanic).
 */
export type SectorEnd =
  /** Sleeps until the power button is pressed, then powers off. */
  | 'button'
  /** Sleeps for ever and hears of no button. */
  | 'halt'
  /** Powers itself off. */
  | 'off'
  /** Tells of a panic. */
  | 'panic'
  /** Prints its line again and again, as fast as it can. */
  | 'chatter'
  /** Repeats what is typed on the serial port. */
  | 'echo'
  /** Counts in its memory, a line for each tick of the clock (18 a second): A, B, C. */
  | 'count'
  /** Counts its starts on the disk, prints the letter (A, B, C), and powers itself off. */
  | 'starts'
  /** Writes the whole disk, 32 KiB at a time, then prints `written` and powers itself off. */
  | 'fill';

const u16 = (value: number) => [value & 255, (value >> 8) & 255];

const PROLOGUE = [
  ...[0xfa, 0x31, 0xc0], // cli; xor ax, ax
  ...[0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, 0xfb], // ds = ss = 0, sp = 0x7c00; sti
];
const HALT = [0xfa, 0xf4, 0xeb, 0xfc]; // cli; hlt; back
const out16 = (port: number, value: number) => [0xba, ...u16(port), 0xb8, ...u16(value), 0xef];
const OFF = [...out16(0x604, 0x2000), ...HALT]; // SLP_EN, type 0: soft off
const putByte = (byte: number) => [0xb0, byte, 0xee]; // mov al, byte; out dx, al
const SERIAL = [0xba, ...u16(0x3f8)];

/** int 0x13 of the second sector of the first disk, at 0x8000. */
const disk = (action: number) => [
  ...[0xb8, 0x01, action, 0xbb, 0x00, 0x80],
  ...[0xb9, 0x02, 0x00, 0xba, 0x80, 0x00, 0xcd, 0x13],
];

const ENDS: Record<SectorEnd, (line: number[]) => number[]> = {
  button: () => [
    ...out16(0x602, 0x0100), // PWRBTN_EN
    ...[0xba, ...u16(0x600), 0xf4, 0xed, 0xf6, 0xc4, 0x01, 0x74, 0xf9], // until PWRBTN_STS: hlt; in ax, dx; test ah, 1
    ...OFF,
  ],
  halt: () => HALT,
  off: () => OFF,
  panic: () => [0xba, ...u16(0x505), 0xb0, 0x01, 0xee, ...HALT],
  chatter: (line) => [...line, 0xe9, ...u16(-(line.length + 3) & 0xffff)],
  // until LSR has a byte: in al, 0x3fd; test al, 1; then in al, 0x3f8; out
  echo: () => [
    ...[0xba, ...u16(0x3fd), 0xec, 0xa8, 0x01, 0x74, 0xfb],
    ...[...SERIAL, 0xec, 0xee, 0xeb, 0xf1],
  ],
  starts: () => [
    ...disk(0x02), // read
    ...[0xfe, 0x06, 0x00, 0x80, 0xa0, 0x00, 0x80, 0x04, 0x40], // inc byte [0x8000]; al = it + '@'
    ...[...SERIAL, 0xee, ...putByte(0x0a)],
    ...disk(0x03), // write
    ...OFF,
  ],
  // int 0x13, function 0x43 with the address packet at 0x7000: 64 sectors from 0x8000, at the next place each time
  fill: () => [
    ...[0xb8, 0x10, 0x00, 0xa3, 0x00, 0x70, 0xb8, 0x40, 0x00, 0xa3, 0x02, 0x70], // size 16, 64 sectors
    ...[0xb8, 0x00, 0x80, 0xa3, 0x04, 0x70, 0x31, 0xc0, 0xa3, 0x06, 0x70], // to 0:0x8000
    ...[0x66, 0x31, 0xc0, 0x66, 0xa3, 0x08, 0x70, 0x66, 0xa3, 0x0c, 0x70], // sector 0
    ...[0x66, 0x83, 0x06, 0x08, 0x70, 0x40], // again: the next 64
    ...[0xb8, 0x00, 0x43, 0xb2, 0x80, 0xbe, 0x00, 0x70, 0xcd, 0x13, 0x73, 0xee], // until it fails: past the end
    ...[...SERIAL, ...[...Buffer.from('written\n')].flatMap(putByte)],
    ...OFF,
  ],
  // inc byte [0x7000] from 'A' on, printed with a line end after each tick
  count: () => [
    ...[0xc6, 0x06, 0x00, 0x70, 0x41],
    ...[0xf4, 0xa0, 0x00, 0x70, 0xee, ...putByte(0x0a), 0xfe, 0x06, 0x00, 0x70, 0xeb, 0xf2],
  ],
};

/** `text` gets a line end; at most about 100 characters. A raw disk; the BIOS boots none smaller than a cylinder, 504 KiB. */
export function bootDisk(text: string, end: SectorEnd, sizeBytes = 1024 * 1024): Buffer {
  const line = [...Buffer.from(`${text}\r\n`)].flatMap(putByte);
  const code = [...PROLOGUE, ...SERIAL, ...line, ...ENDS[end](line)];
  if (code.length > 446) throw new Error(`a boot sector has 446 bytes for code, not ${code.length}`);
  const disk = Buffer.alloc(sizeBytes);
  Buffer.from(code).copy(disk);
  disk.writeUInt16LE(0xaa55, 510);
  return disk;
}
