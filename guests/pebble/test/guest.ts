/**
 * Starts pebble in QEMU for a test, on a {@link Link}; reads its console; ends it by its process id. A guest is made for one
 * test and disposed of in its `finally`.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Link } from './link.ts';
import { Peer } from './peer.ts';

export const folder = fileURLToPath(new URL('..', import.meta.url));
export const image = join(folder, 'build', 'pebble.elf');
export const guestIp = '10.1.2.3';
const guestMac = '52:54:00:aa:bb:01';

export type Machine = 'microvm' | 'microvm-legacy' | 'q35';

export interface GuestOptions {
  /** The function's source, ES5. */
  source: string;
  machine?: Machine;
  /** More words of the command line. */
  words?: string;
  /** Guest memory in MiB; the promise is that 8 are enough. */
  memoryMiB?: number;
}

/** Builds the image; quick when nothing has changed. The lock keeps test files that start together apart. */
export function buildImage(): void {
  execFileSync('flock', [folder, 'make', '-s', '-C', folder], { stdio: ['ignore', 'ignore', 'inherit'] });
}

function qemuArguments(machine: Machine, link: Link, functionPath: string, options: GuestOptions): string[] {
  const pci = machine === 'q35';
  const device = pci ? 'virtio-net-pci,romfile=' : 'virtio-net-device';
  return [
    ...[
      '-M',
      pci ? 'q35' : 'microvm,acpi=off,rtc=on',
      '-accel',
      'tcg',
      '-cpu',
      'max',
      '-m',
      `${options.memoryMiB ?? 8}`,
    ],
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-serial', 'stdio'],
    ...['-kernel', image, '-initrd', functionPath],
    ...['-append', `ip=${guestIp}/24 gw=10.1.2.1 name=thermo ${options.words ?? ''}`],
    ...(machine === 'microvm' ? ['-global', 'virtio-mmio.force-legacy=false'] : []),
    ...['-netdev', `stream,id=n0,server=off,addr.type=unix,addr.path=${link.path}`],
    ...['-device', `${device},netdev=n0,mac=${guestMac}`, '-device', 'isa-debug-exit,iobase=0x501,iosize=2'],
  ];
}

export class Guest {
  readonly link: Link;
  readonly peer: Peer;
  readonly startedMs: number;
  console = '';
  /** QEMU's exit status, once it has ended. */
  exitStatus: number | null = null;
  private readonly child: ChildProcess;
  private readonly scratch: string;
  private readonly ended: Promise<void>;
  private listeners = new Set<() => void>();

  private constructor(child: ChildProcess, link: Link, scratch: string, startedMs: number) {
    this.child = child;
    this.link = link;
    this.scratch = scratch;
    this.startedMs = startedMs;
    this.peer = new Peer(link, guestMac, guestIp);
    child.stdout!.setEncoding('utf8').on('data', (text: string) => this.hear(text));
    child.stderr!.setEncoding('utf8').on('data', (text: string) => this.hear(`qemu: ${text}`));
    this.ended = new Promise((done) =>
      child.once('close', (status) => {
        this.exitStatus = status;
        for (const listener of this.listeners) listener();
        done();
      }),
    );
  }

  /** Starts QEMU; answers before the guest is up. */
  static async spawn(options: GuestOptions): Promise<Guest> {
    const scratch = mkdtempSync(join(tmpdir(), 'pebble-'));
    const link = await Link.open(join(scratch, 'net'));
    const functionPath = join(scratch, 'function.js');
    writeFileSync(functionPath, options.source);
    const startedMs = performance.now();
    const args = qemuArguments(options.machine ?? 'microvm', link, functionPath, options);
    return new Guest(
      spawn('qemu-system-x86_64', args, { stdio: ['ignore', 'pipe', 'pipe'] }),
      link,
      scratch,
      startedMs,
    );
  }

  /** Starts QEMU and waits until the function is ready. */
  static async boot(options: GuestOptions): Promise<Guest> {
    const guest = await Guest.spawn(options);
    try {
      await guest.said(/ ready on /);
      return guest;
    } catch (error) {
      await guest.dispose();
      throw error;
    }
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** Stops reading the console, as a reader does that hangs; `false` reads on. */
  muteConsole(muted: boolean): void {
    if (muted) this.child.stdout!.pause();
    else this.child.stdout!.resume();
  }

  /** Waits until the console holds `pattern`; fails when the guest ends or `limitMs` pass without it. */
  async said(pattern: RegExp, limitMs = 10_000): Promise<RegExpExecArray> {
    const deadline = performance.now() + limitMs;
    for (;;) {
      const match = pattern.exec(this.console);
      if (match) return match;
      const left = deadline - performance.now();
      if (left <= 0 || this.exitStatus !== null)
        throw new Error(`the guest did not say ${pattern}; its console:\n${this.console}`);
      await this.change(left);
    }
  }

  /** QEMU's exit status: 2 * code + 1 through isa-debug-exit. */
  async exited(limitMs = 10_000): Promise<number | null> {
    const deadline = performance.now() + limitMs;
    while (this.exitStatus === null) {
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`the guest did not end; its console:\n${this.console}`);
      await this.change(left);
    }
    return this.exitStatus;
  }

  async dispose(): Promise<void> {
    this.peer.close();
    this.child.kill('SIGKILL');
    await this.ended;
    this.link.close();
    rmSync(this.scratch, { recursive: true, force: true });
  }

  private hear(text: string): void {
    this.console += text;
    for (const listener of this.listeners) listener();
  }

  private change(limitMs: number): Promise<void> {
    return new Promise((done) => {
      const finish = () => {
        clearTimeout(timer);
        this.listeners.delete(finish);
        done();
      };
      const timer = setTimeout(finish, limitMs);
      this.listeners.add(finish);
    });
  }
}
