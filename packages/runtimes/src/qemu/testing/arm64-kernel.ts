/**
 * A kernel for arm64 of a few bytes, in the form of a Linux Image (docs.kernel.org/arch/arm64/booting.html): it prints a line
 * on the PL011 of QEMU's `virt` and powers off by PSCI. Arm ARM (DDI 0487) has the codes.
 */
const HEADER_BYTES = 64;

export function arm64Kernel(text: string): Buffer {
  const code = [
    0x10000121, // adr x1, the text: nine words on
    0xd2a12002, // movz x2, #0x0900, lsl #16: the serial port
    0x38401420, // ldrb w0, [x1], #1
    0x34000060, // cbz w0, three words on
    0x39000040, // strb w0, [x2]
    0x17fffffd, // b, three words back
    0x52b08000, // movz w0, #0x8400, lsl #16
    0x72800100, // movk w0, #8: SYSTEM_OFF
    0xd4000002, // hvc #0
  ];
  const line = Buffer.from(`${text}\r\n\0`);
  const file = Buffer.alloc(HEADER_BYTES + code.length * 4 + line.length);
  file.writeUInt32LE(0x14000000 + HEADER_BYTES / 4, 0); // b, over the header
  file.writeBigUInt64LE(BigInt(file.length), 16);
  file.write('ARM\x64', 0x38, 'latin1');
  for (const [i, word] of code.entries()) file.writeUInt32LE(word, HEADER_BYTES + i * 4);
  line.copy(file, HEADER_BYTES + code.length * 4);
  return file;
}
