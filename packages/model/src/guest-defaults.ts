/**
 * What holds for a guest where its manifest says nothing. Admission on the controller and the limits on the node must
 * agree, so both read it here.
 */
import type { RuntimeKind } from './runtime-kinds.ts';
import type { Bytes, Millis } from './units.ts';

const MiB = 1024 * 1024;

/** Memory by runtime: enough for a small program of that kind; a function needs 8 MiB, a Linux guest its kernel and init. */
const MEMORY_BYTES: Record<RuntimeKind, number> = {
  container: 128 * MiB,
  unikernel: 32 * MiB,
  vm: 512 * MiB,
  system: 256 * MiB,
  sim: 16 * MiB,
};

export const defaultMemoryBytes = (runtime: RuntimeKind): Bytes => MEMORY_BYTES[runtime] as Bytes;

export const GUEST_DEFAULTS = {
  cpus: 1,
  /** Processes and threads. */
  pids: 512,
  restart: 'always',
  addressing: 'static',
  stopGraceMs: 10_000 as Millis,
  /** How long its node may be away before an instance is started on another one. */
  replaceAfterMs: 30_000 as Millis,
  health: {
    path: '/healthz',
    /** With the timeout: one that does not answer any more receives no new connection after 3 s at the latest. */
    intervalMs: 2000 as Millis,
    timeoutMs: 1000 as Millis,
    /** 14 s: long enough for a moment of overload. */
    failures: 7,
    /** Failures before the first success count only after it. */
    startPeriodMs: 30_000 as Millis,
    /** Of a virtual machine: an emulated one that installs itself at its first boot takes minutes. */
    machineStartPeriodMs: 600_000 as Millis,
  },
} as const;
