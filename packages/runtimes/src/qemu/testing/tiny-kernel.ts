/**
 * Kernels of a few bytes, for tests: they print a line on the serial port and then do one thing. An ELF32 with a PVH note
 * (QEMU starts it in 32-bit protected mode, with flat segments) or with a multiboot header. Intel SDM volume 2 has the codes.
 */
export type TinyEnd =
  /** Leaves the code through isa-debug-exit at port 0x501. */
  | { readonly exit: number }
  /** A fault without a table to handle it: the processor resets itself. */
  | 'triple-fault'
  /** Sleeps for ever and hears of no power button. */
  | 'halt';

const BASE = 0x100000;
const HEADERS = 52 + 2 * 32;

const u16 = (value: number) => [value & 255, (value >> 8) & 255];
const u32 = (value: number) => [...u16(value & 0xffff), ...u16(value >>> 16)];

const HALT = [0xfa, 0xf4, 0xeb, 0xfc]; // cli; hlt; back

function endCode(end: TinyEnd, nothingAt: number): number[] {
  if (end === 'halt') return HALT;
  // lidt [six zero bytes]; int3
  if (end === 'triple-fault') return [0x0f, 0x01, 0x1d, ...u32(nothingAt), 0xcc, ...HALT];
  return [0x66, 0xba, ...u16(0x501), 0xb8, ...u32(end.exit), 0x66, 0xef, ...HALT]; // out dx, ax
}

/** `text` gets a line end. */
export function tinyKernel(text: string, end: TinyEnd, boot: 'pvh' | 'multiboot' = 'pvh'): Buffer {
  const note = [...u32(4), ...u32(4), ...u32(18), ...Buffer.from('Xen\0')]; // XEN_ELFNOTE_PHYS32_ENTRY
  const noteAt = HEADERS;
  const multibootAt = noteAt + 20;
  const nothingAt = multibootAt + 12;
  const codeAt = nothingAt + 8;
  const entry = BASE + codeAt;
  const print = [...Buffer.from(`${text}\r\n`)].flatMap((byte) => [0xb0, byte, 0xee]); // mov al, byte; out dx, al
  const code = [0x66, 0xba, ...u16(0x3f8), ...print, ...endCode(end, BASE + nothingAt)];
  const size = codeAt + code.length;
  const magic = 0x1badb002;
  const multiboot =
    boot === 'multiboot' ? [...u32(magic), ...u32(0), ...u32(-magic >>> 0)] : new Array(12).fill(0);
  const header = [
    ...[0x7f, 0x45, 0x4c, 0x46, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ...[...u16(2), ...u16(3), ...u32(1), ...u32(entry), ...u32(52), ...u32(0), ...u32(0)],
    ...[...u16(52), ...u16(32), ...u16(2), ...u16(0), ...u16(0), ...u16(0)],
  ];
  const segment = (type: number, offset: number, length: number, flags: number) =>
    [type, offset, BASE + offset, BASE + offset, length, length, flags, 4].flatMap(u32);
  const isPvh = boot === 'pvh';
  return Buffer.from([
    ...header,
    ...segment(1, 0, size, 7),
    ...segment(isPvh ? 4 : 0, noteAt, 20, 4),
    ...(isPvh ? [...note, ...u32(entry)] : new Array(20).fill(0)),
    ...multiboot,
    ...new Array(8).fill(0),
    ...code,
  ]);
}
