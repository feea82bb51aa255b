/**
 * The runtime port: what the agent asks of every kind of guest. Guests are never children of the agent.
 * `plan` is pure and decides; `apply` makes no choices and is idempotent; `recover` is the first verb after a restart.
 *
 *   absent --create--> created --start--> running --stop/exit--> exited --remove--> absent
 *                                ^------------------start-----------'
 */
import type {
  Bytes,
  GuestExit,
  GuestStats,
  Id,
  LogLine,
  LogOptions,
  Millis,
  ProbeFinding,
  RuntimeKind,
} from '@skerry/model';
import type { Attachment } from '@skerry/network';

export interface VmGuest {
  /** Absent: what the disk was made for. */
  readonly firmware?: 'bios' | 'uefi';
  readonly secureBoot: boolean;
  readonly tpm: boolean;
  readonly cpuModel: 'portable' | 'host';
  readonly cdromDigest?: string;
  /** Its kernel is loaded in place of what its firmware would start. */
  readonly boot?: {
    readonly kernelDigest: string;
    readonly initrdDigest?: string;
    readonly arguments: string;
  };
  readonly cloudInit?: {
    readonly userData?: string;
    readonly networkConfig?: string;
    readonly sshKeys: readonly string[];
  };
}

/** All that a guest needs, resolved: no names to look up, no units to parse. */
export interface GuestSpec {
  readonly uid: Id<'instance'>;
  readonly name: string;
  readonly project: string;
  readonly workload: string;
  readonly runtime: RuntimeKind;
  /** Changes when the guest must be made anew. */
  readonly incarnation: string;
  readonly imageDigest: string;
  /**
   * Given where the guest's disk is to outlive its incarnations (a virtual machine, a system container, a unikernel with block
   * devices): another incarnation with the same root goes on with the disk that is there, as a machine does whose memory was changed.
   */
  readonly root?: string;
  readonly cpus: number;
  readonly memoryBytes: Bytes;
  /** Limit of the guest's own writable layer. */
  readonly diskBytes?: Bytes;
  readonly pids: number;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly workingDir?: string;
  readonly env: Readonly<Record<string, string>>;
  readonly network?: Attachment;
  /** How a guest with its own kernel learns its address. */
  readonly addressing: 'static' | 'dhcp';
  readonly ports: readonly {
    readonly name: string;
    readonly port: number;
    readonly protocol: 'tcp' | 'udp';
  }[];
  readonly volumes: readonly {
    readonly name: string;
    /** A folder to mount; for a `vm` a raw disk image. */
    readonly hostPath: string;
    readonly mount: string;
    readonly readOnly: boolean;
  }[];
  /** A desktop: screen, keyboard and pointer. */
  readonly display?: boolean;
  readonly vm?: VmGuest;
  readonly system?: { readonly init?: string; readonly nesting: boolean };
  readonly security: {
    readonly readOnlyRoot: boolean;
    readonly user?: string;
    /** Beyond the default set where given; `CAP_…`. */
    readonly capabilities: readonly string[];
    readonly userNamespace: boolean;
  };
  readonly sim?: Readonly<Record<string, number | string | boolean>>;
}

export type GuestState =
  | { readonly state: 'absent' }
  | { readonly state: 'created'; readonly incarnation: string; readonly root?: string }
  | {
      readonly state: 'running';
      readonly incarnation: string;
      readonly root?: string;
      readonly pid: number;
      readonly startedAtMs: number;
      /** It holds still: asked for, or its disk could not be written (`why`). */
      readonly paused?: { readonly why: 'asked' | 'disk-full' | 'io-error' };
      /** By its own word, where an agent inside tells: hearsay, for people only. */
      readonly addresses?: readonly string[];
    }
  | {
      readonly state: 'exited';
      readonly incarnation: string;
      readonly root?: string;
      readonly exit: GuestExit;
    };

export type GuestStep =
  /**
   * Where it is there in this incarnation nothing changes, whatever its state; another one is refused and left alone. But one
   * with the same root that does not run is made anew over its disk.
   */
  | { readonly do: 'create'; readonly spec: GuestSpec }
  | { readonly do: 'start'; readonly uid: Id<'instance'> }
  /** Asks the guest to end (SIGTERM, ACPI or the runtime's own way), waits `graceMs`, then forces. */
  | { readonly do: 'stop'; readonly uid: Id<'instance'>; readonly graceMs: Millis }
  /** Everything of the guest goes: process, cgroup, mounts, sockets, writable layer, logs. */
  | { readonly do: 'remove'; readonly uid: Id<'instance'> };

/** Host events outrank requests: the agent hears of an end from here. `resync`: events were lost, recover all. */
export type GuestEvent =
  | { readonly type: 'exited'; readonly uid: Id<'instance'>; readonly exit: GuestExit }
  | { readonly type: 'oom'; readonly uid: Id<'instance'>; readonly message: string }
  /** It holds still by itself (its disk could not be written), with the reason; or goes on again. */
  | { readonly type: 'paused'; readonly uid: Id<'instance'>; readonly message: string }
  | { readonly type: 'resumed'; readonly uid: Id<'instance'>; readonly message: string }
  /** What is known of it changed, and it goes on. */
  | { readonly type: 'look'; readonly uid: Id<'instance'> }
  | { readonly type: 'resync' };

export interface Runtime {
  readonly kind: RuntimeKind;
  /** Starts what the runtime needs on the node (an engine); idempotent; attaches to an engine that runs already. */
  start(signal: AbortSignal): Promise<void>;
  /** Lets go of the engine; guests and engine go on. */
  stop(): Promise<void>;
  /** Ends the engine and removes all that the runtime put on the host. Guests must be gone. */
  destroy(signal: AbortSignal): Promise<void>;
  probe(signal: AbortSignal): Promise<ProbeFinding[]>;
  /** What is there of this guest now, whoever made it; opens what is needed to hear its events. */
  recover(uid: Id<'instance'>, signal: AbortSignal): Promise<GuestState>;
  /** Every guest of this data folder that the runtime knows: for finding orphans. */
  list(signal: AbortSignal): Promise<Id<'instance'>[]>;
  plan(want: GuestSpec | undefined, have: GuestState, uid: Id<'instance'>, graceMs: Millis): GuestStep[];
  /** Returns the state after the step. Errors: image_not_found, image_invalid, image_wrong_kind, guest_start_failed, disk_full, engine_unavailable, unsupported. */
  apply(step: GuestStep, signal: AbortSignal): Promise<GuestState>;
  events(signal: AbortSignal): AsyncIterable<GuestEvent>;
  stats(uid: Id<'instance'>, signal: AbortSignal): Promise<GuestStats>;
  logs(uid: Id<'instance'>, options: LogOptions, signal: AbortSignal): AsyncIterable<LogLine>;
  /**
   * Moves what the guest wrote, which has ended, into `folder`, for another run is to begin: files that log-lines.ts reads.
   * May be repeated. Absent: there is nothing that could be kept.
   */
  keepLog?(uid: Id<'instance'>, folder: string, signal: AbortSignal): Promise<void>;
  /** Memory that the guest costs the node beyond `spec.memoryBytes` (hypervisor, shim); measured, stated in docs. */
  overheadBytes(memoryBytes: Bytes): Bytes;
  readonly exec?: ExecPower;
  readonly console?: ConsolePower;
  readonly pause?: PausePower;
  readonly snapshot?: SnapshotPower;
  readonly display?: DisplayPower;
  readonly resize?: ResizePower;
}

export interface ExecRequest {
  readonly command: readonly string[];
  readonly terminal: boolean;
  readonly columns?: number;
  readonly rows?: number;
  readonly env?: Readonly<Record<string, string>>;
}

export interface ExecSession {
  readonly output: AsyncIterable<{ readonly stream: 'stdout' | 'stderr'; readonly data: Uint8Array }>;
  write(data: Uint8Array): Promise<void>;
  closeInput(): Promise<void>;
  resize(columns: number, rows: number): Promise<void>;
  /** Exit code of the command. */
  readonly exit: Promise<number>;
  kill(): Promise<void>;
}

export interface ExecPower {
  exec(uid: Id<'instance'>, request: ExecRequest, signal: AbortSignal): Promise<ExecSession>;
}

/** A serial console: bytes both ways; several readers may look at once. */
export interface ConsolePower {
  open(
    uid: Id<'instance'>,
    signal: AbortSignal,
  ): Promise<{ readonly output: AsyncIterable<Uint8Array>; write(data: Uint8Array): Promise<void> }>;
}

/** Both are idempotent. Errors: guest_not_running. */
export interface PausePower {
  pause(uid: Id<'instance'>, signal: AbortSignal): Promise<void>;
  resume(uid: Id<'instance'>, signal: AbortSignal): Promise<void>;
}

export interface GuestSnapshot {
  readonly name: string;
  /** Milliseconds since the epoch. */
  readonly takenAtMs: number;
  readonly sizeBytes: Bytes;
  /** With the memory of a running guest; else its disks alone. */
  readonly withMemory: boolean;
  /** Its file systems were held still by the agent inside: the disks alone are whole as well. */
  readonly frozen: boolean;
}

/** What a guest can be put back to: its disks and, where it runs, its memory. Gone with the guest. */
export interface SnapshotPower {
  list(uid: Id<'instance'>, signal: AbortSignal): Promise<GuestSnapshot[]>;
  /** Errors: conflict (the name is taken), disk_full. */
  take(uid: Id<'instance'>, name: string, signal: AbortSignal): Promise<GuestSnapshot>;
  /** Errors: not_found. */
  restore(uid: Id<'instance'>, name: string, signal: AbortSignal): Promise<void>;
  /** Idempotent. */
  remove(uid: Id<'instance'>, name: string, signal: AbortSignal): Promise<void>;
}

export interface DisplayPower {
  /** Path of the unix socket on which VNC (RFC 6143) is spoken; for this user alone. Errors: guest_not_running, unsupported. */
  socket(uid: Id<'instance'>, signal: AbortSignal): Promise<string>;
  /** The screen as it is now: a PNG file. */
  screenshot(uid: Id<'instance'>, signal: AbortSignal): Promise<Uint8Array>;
}

export interface ResizePower {
  /** The guest's first disk grows; it never shrinks. Errors: request_invalid, disk_full. */
  growDisk(uid: Id<'instance'>, sizeBytes: Bytes, signal: AbortSignal): Promise<void>;
  /** By the balloon: what of its memory the guest may use, at most what it was made with. */
  setMemory(uid: Id<'instance'>, memoryBytes: Bytes, signal: AbortSignal): Promise<void>;
}
