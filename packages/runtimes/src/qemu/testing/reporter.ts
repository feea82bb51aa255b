/** Builds reporter.c for a family: a kernel that prints what it was given. Compiled with the host's C compiler. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface ReporterSpec {
  readonly boot: 'pvh' | 'multiboot' | 'multiboot-with-addresses';
  /** Turned into ELF64: QEMU loads it by its addresses then. */
  readonly wide?: boolean;
  readonly words?: string;
  readonly end:
    | { readonly port: number; readonly value: number; readonly bytes?: 2 | 4 }
    | 'power-off'
    | 'halt';
  /** Sections by their name; those that begin with .note are notes. */
  readonly sections?: Readonly<Record<string, Buffer>>;
}

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const FLAGS = { multiboot: '"0"', 'multiboot-with-addresses': '"0x10003"' } as const;

export function reporterKernel({ boot, wide, words, end, sections = {} }: ReporterSpec): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-reporter-'));
  try {
    const built = join(folder, 'reporter.elf');
    const ending =
      typeof end === 'object'
        ? [`-DEND_PORT=${end.port}`, `-DEND_VALUE=${end.value}`, `-DEND_BYTES=${end.bytes ?? 2}`]
        : [end === 'halt' ? '-DHALT' : '-DPOWER_OFF'];
    execFileSync('cc', [
      ...[
        '-m32',
        '-Os',
        '-std=gnu11',
        '-Wall',
        '-Wextra',
        '-Werror',
        '-ffreestanding',
        '-fno-pic',
        '-no-pie',
      ],
      ...['-fno-stack-protector', '-fno-asynchronous-unwind-tables', '-fcf-protection=none', '-mno-sse'],
      ...[
        '-nostdlib',
        '-static',
        '-Wl,--build-id=none',
        '-Wl,--no-warn-rwx-segments',
        `-Wl,-T,${here('reporter.ld')}`,
      ],
      ...(boot === 'pvh' ? ['-DPVH'] : [`-DMULTIBOOT=${FLAGS[boot]}`]),
      ...(words === undefined ? [] : [`-DWORDS=${JSON.stringify(words)}`]),
      ...ending,
      ...['-o', built, here('reporter.c')],
    ]);
    const added = Object.entries(sections).flatMap(([name, data], index) => {
      const path = join(folder, `section-${index}`);
      writeFileSync(path, data);
      return ['--add-section', `${name}=${path}`];
    });
    const format = wide ? ['-I', 'elf32-i386', '-O', 'elf64-x86-64'] : [];
    if (added.length + format.length > 0) execFileSync('objcopy', [...format, ...added, built]);
    return readFileSync(built);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
