/**
 * GRUB's shell on the serial port, as a kernel with the Linux boot header (its lnxboot.img): another operating system, near
 * enough, that Debian ships (packages grub-common and grub-pc-bin).
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const MKIMAGE = '/usr/bin/grub-mkimage';
const LNXBOOT = '/usr/lib/grub/i386-pc/lnxboot.img';

export const hasGrub = (): boolean => existsSync(MKIMAGE) && existsSync(LNXBOOT);

export function grubKernel(greeting: string): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-grub-'));
  try {
    const [script, core] = [join(folder, 'early.cfg'), join(folder, 'core.img')];
    const lines = [
      'serial --unit=0',
      'terminal_input serial',
      'terminal_output serial',
      `echo "${greeting}"`,
    ];
    writeFileSync(script, `${lines.join('\n')}\n`);
    const modules = ['serial', 'terminal', 'echo', 'normal', 'minicmd', 'halt'];
    execFileSync(MKIMAGE, ['-O', 'i386-pc', '-p', '/boot', '-c', script, '-o', core, ...modules]);
    return Buffer.concat([readFileSync(LNXBOOT), readFileSync(core)]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
