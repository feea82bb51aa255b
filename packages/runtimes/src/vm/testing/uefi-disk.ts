/**
 * Disks with a UEFI program of a few bytes, for tests: a FAT file system with the loader that the firmware looks for
 * (UEFI 2.10, 3.5.1.1). The program prints a line on the board's serial port and powers the machine off. PE32+ as of
 * Microsoft's "PE Format"; the codes are in the Intel SDM, volume 2, and in the Arm ARM (DDI 0487), C6.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

type Arch = 'amd64' | 'arm64';

const CODE: Record<Arch, (text: Buffer) => Buffer> = {
  amd64: (text) =>
    Buffer.from([
      ...[0x66, 0xba, 0xf8, 0x03], // mov dx, COM1
      ...[...text].flatMap((byte) => [0xb0, byte, 0xee]), // mov al, byte; out dx, al
      ...[0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x20, 0x66, 0xef], // PM1_CNT of q35: soft off
      ...[0xf4, 0xeb, 0xfd], // hlt; back
    ]),
  arm64: (text) => {
    const words = [
      0xd2a12001, // mov x1, 0x09000000: the board's PL011
      ...[...text].flatMap((byte) => [0x52800000 | (byte << 5), 0x39000020]), // mov w0, byte; strb w0, [x1]
      ...[0xd2b08000, 0xf2800100, 0xd4000002], // mov x0, 0x84000008; hvc 0: PSCI's SYSTEM_OFF (DEN0022)
      ...[0xd503207f, 0x17ffffff], // wfi; back
    ];
    const code = Buffer.alloc(words.length * 4);
    for (const [index, value] of words.entries()) code.writeUInt32LE(value >>> 0, index * 4);
    return code;
  },
};

const MACHINE: Record<Arch, number> = { amd64: 0x8664, arm64: 0xaa64 };
const LOADER: Record<Arch, string> = { amd64: 'BOOTX64.EFI', arm64: 'BOOTAA64.EFI' };
const PAGE = 0x1000;
const HEADERS = 0x200;

function program(arch: Arch, text: string): Buffer {
  const code = CODE[arch](Buffer.from(`${text}\r\n`));
  const size = Math.ceil(code.length / 0x200) * 0x200;
  const file = Buffer.alloc(HEADERS + size);
  file.write('MZ');
  file.writeUInt32LE(0x40, 0x3c);
  file.write('PE\0\0', 0x40);
  file.writeUInt16LE(MACHINE[arch], 0x44);
  file.writeUInt16LE(1, 0x46); // sections
  file.writeUInt16LE(0xf0, 0x54); // size of the optional header
  file.writeUInt16LE(0x22, 0x56); // executable, any address
  const optional = 0x58;
  const put = (at: number, value: number) => file.writeUInt32LE(value, optional + at);
  file.writeUInt16LE(0x20b, optional);
  put(4, size); // of code
  put(16, PAGE); // entry
  put(20, PAGE); // base of code
  put(32, PAGE); // alignment in memory
  put(36, 0x200); // and in the file
  put(56, 2 * PAGE); // of the image
  put(60, HEADERS);
  file.writeUInt16LE(10, optional + 68); // an EFI application
  put(108, 16); // directories, all empty
  const section = optional + 0xf0;
  file.write('.text', section);
  for (const [index, value] of [PAGE, PAGE, size, HEADERS].entries())
    file.writeUInt32LE(value, section + 8 + index * 4);
  file.writeUInt32LE(0x60000020, section + 36); // code, to execute and to read
  code.copy(file, HEADERS);
  return file;
}

/** A raw disk. `text` gets a line end. */
export function uefiDisk(arch: Arch, text: string): Buffer {
  const work = mkdtempSync(join(tmpdir(), 'skerry-uefi-'));
  const at = (name: string) => join(work, name);
  try {
    writeFileSync(at('loader'), program(arch, text));
    writeFileSync(at('disk'), Buffer.alloc(4 * 1024 * 1024));
    execFileSync('mkfs.vfat', ['-n', 'UEFI', at('disk')], { stdio: 'pipe' });
    execFileSync('mmd', ['-i', at('disk'), '::/EFI', '::/EFI/BOOT'], { stdio: 'pipe' });
    execFileSync('mcopy', ['-i', at('disk'), at('loader'), `::/EFI/BOOT/${LOADER[arch]}`], { stdio: 'pipe' });
    return readFileSync(at('disk'));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
