/**
 * Whether hardware acceleration really works: a `kvm` device that opens is no proof, so a real guest is started once with it.
 * pebble without a network device says so and ends with code 6: then its code ran. The answer holds until the next boot.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { GUEST_GID, GUEST_UID, type Identity, run, writeFileDurably } from '@skerry/host';
import { SkerryError } from '@skerry/model';

export interface Acceleration {
  readonly kind: 'kvm' | 'tcg';
  /** Why not kvm. */
  readonly reason?: string;
  readonly remedy?: string;
  /** Group of /dev/kvm that the guests' user gets. */
  readonly group?: number;
}

export const QEMU = '/usr/bin/qemu-system-x86_64';
const NO_NETWORK_STATUS = 13;
const LIMIT_MS = 3000;

async function probe(kernelPath: string, signal: AbortSignal): Promise<Acceleration> {
  if (!existsSync('/dev/kvm')) {
    return {
      kind: 'tcg',
      reason: 'this machine has no /dev/kvm',
      remedy: 'enable virtualization in the firmware, or nested virtualization on the host of this machine',
    };
  }
  const { gid, mode } = statSync('/dev/kvm');
  const group = (mode & 0o006) === 0o006 ? undefined : gid;
  if (group === 0 || (group !== undefined && (mode & 0o060) !== 0o060)) {
    return {
      kind: 'tcg',
      reason: '/dev/kvm is open to root alone, and guests do not run as root',
      remedy: 'chgrp kvm /dev/kvm && chmod 660 /dev/kvm',
    };
  }
  const asGuest = [
    '--reuid',
    String(GUEST_UID),
    '--regid',
    String(GUEST_GID),
    ...(group === undefined ? ['--clear-groups'] : ['--groups', String(group)]),
  ];
  const guest = [
    '-M',
    'microvm,acpi=off,rtc=on',
    '-accel',
    'kvm',
    '-cpu',
    'host',
    '-m',
    '8',
    '-nodefaults',
    '-no-user-config',
    '-no-reboot',
    '-display',
    'none',
  ];
  const kernel = [
    '-kernel',
    kernelPath,
    '-append',
    'ip=10.0.2.15/24',
    '-device',
    'isa-debug-exit,iobase=0x501,iosize=2',
  ];
  try {
    await run('setpriv', [...asGuest, '--', QEMU, ...guest, ...kernel], {
      signal,
      timeoutMs: LIMIT_MS,
      okCodes: [NO_NETWORK_STATUS],
    });
    return { kind: 'kvm', ...(group === undefined ? {} : { group }) };
  } catch (error) {
    if (signal.aborted) throw error;
    const words = error instanceof SkerryError ? error.message : String(error);
    return {
      kind: 'tcg',
      reason: `/dev/kvm is there, but a guest that was started with it failed: ${words.slice(0, 200)}`,
      remedy: 'use a machine whose host lets guests use virtualization',
    };
  }
}

/** Kept in the run folder, by the version of QEMU. */
export async function probeAcceleration(
  identity: Identity,
  kernelPath: string,
  signal: AbortSignal,
): Promise<Acceleration> {
  const path = join(identity.runDir, 'acceleration.json');
  const qemu = statSync(QEMU, { throwIfNoEntry: false });
  if (!qemu)
    throw new SkerryError(
      'host_missing',
      'the program qemu-system-x86_64 is not installed: apt-get install qemu-system-x86',
    );
  const key = `${qemu.mtimeMs} ${statSync('/dev/kvm', { throwIfNoEntry: false })?.ctimeMs ?? 'none'}`;
  try {
    const kept = JSON.parse(readFileSync(path, 'utf8')) as { key: string; answer: Acceleration };
    if (kept.key === key) return kept.answer;
  } catch {
    // not probed since the machine booted
  }
  const answer = await probe(kernelPath, signal);
  writeFileDurably(path, JSON.stringify({ key, answer }));
  return answer;
}
