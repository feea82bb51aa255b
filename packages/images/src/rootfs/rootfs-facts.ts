/** What is known of a root file system: its init, its system, its processor, and what unpacking has to leave out. */
import type { Compression } from '../content/compression.ts';
import type { RootTree } from './root-tree.ts';

export interface RootfsInit {
  readonly kind: 'systemd' | 'openrc' | 'busybox' | 'sysvinit' | 'other';
  /** As it is started: `/sbin/init`. */
  readonly path: string;
}

export interface RootfsFacts {
  readonly compression: Compression;
  readonly entries: number;
  readonly unpackedBytes: number;
  /** Absent: it has none; it can run a single command at most. */
  readonly init?: RootfsInit;
  /** From os-release(5). */
  readonly os?: { readonly id?: string; readonly version?: string; readonly prettyName?: string };
  /** Names of device nodes, as the archive has them. They are not unpacked: a guest gets its own /dev. */
  readonly devices: readonly string[];
}

const EM_X86_64 = 62;
const EM_AARCH64 = 183;
const INIT_PATHS = [
  'sbin/init',
  'etc/init',
  'bin/init',
  'init',
  'lib/systemd/systemd',
  'usr/lib/systemd/systemd',
];
/** Where a system's own programs are, for its processor. */
const PROGRAMS = ['bin/sh', 'bin/busybox', 'bin/bash', 'usr/bin/sh', 'sbin/init', 'usr/bin/env'];
const OS_RELEASE = ['etc/os-release', 'usr/lib/os-release'];

/** How many of its first bytes are kept: of programs what tells their processor, of settings all. */
export function keptBytes(name: string): number {
  if (/(^|\/)(os-release|inittab)$/.test(name)) return 16 * 1024;
  return /(^|\/)(s?bin\/[^/]+|init|systemd)$/.test(name) ? 64 : 0;
}

export function archOf(head: Buffer | undefined): 'amd64' | 'arm64' | undefined {
  if (!head || head.length < 20 || head.readUInt32BE(0) !== 0x7f454c46) return undefined;
  const machine = head.readUInt16LE(18);
  return machine === EM_X86_64 ? 'amd64' : machine === EM_AARCH64 ? 'arm64' : undefined;
}

export function isProgram(head: Buffer | undefined): boolean {
  return (
    head !== undefined &&
    (head.toString('latin1', 0, 4) === '\x7fELF' || head.toString('latin1', 0, 2) === '#!')
  );
}

export function initOf(tree: RootTree): RootfsInit | undefined {
  const name = INIT_PATHS.find((path) => isProgram(tree.head(path)));
  if (name === undefined) return undefined;
  const end = tree.resolve(name) ?? name;
  const program = end.split('/').pop()!;
  const path = `/${name}`;
  if (program === 'systemd') return { kind: 'systemd', path };
  if (program === 'openrc-init') return { kind: 'openrc', path };
  const hasOpenrc = ['sbin/openrc', 'usr/sbin/openrc', 'bin/openrc'].some((one) => isProgram(tree.head(one)));
  // Alpine's init is busybox, which starts OpenRC from its inittab.
  if (hasOpenrc) return { kind: 'openrc', path };
  if (program === 'busybox' || tree.resolve('bin/busybox') === end) return { kind: 'busybox', path };
  if (program === 'init' && tree.head('etc/inittab')) return { kind: 'sysvinit', path };
  return { kind: 'other', path };
}

function settingOf(text: string, key: string): string | undefined {
  const found = new RegExp(`^${key}=(.*)$`, 'm').exec(text)?.[1]?.trim();
  if (!found) return undefined;
  return (/^(["'])(.*)\1$/.exec(found)?.[2] ?? found).slice(0, 200);
}

export function osOf(tree: RootTree): RootfsFacts['os'] {
  const text = OS_RELEASE.map((path) => tree.head(path))
    .find((head) => head !== undefined)
    ?.toString('utf8');
  if (text === undefined) return undefined;
  const [id, version, prettyName] = ['ID', 'VERSION_ID', 'PRETTY_NAME'].map((key) => settingOf(text, key));
  return { ...(id && { id }), ...(version && { version }), ...(prettyName && { prettyName }) };
}

export const programArch = (tree: RootTree): 'amd64' | 'arm64' | undefined =>
  PROGRAMS.map((path) => archOf(tree.head(path))).find((arch) => arch !== undefined);
export const hasShell = (tree: RootTree): boolean => PROGRAMS.some((path) => isProgram(tree.head(path)));
