/** Linux capabilities of containers (capabilities(7)): a small default set, and the names that may be added. */
import { SkerryError } from '@skerry/model';

/** What ordinary images need to start as root and then drop to a user. No raw sockets: ping works without (icmp(7)). */
export const DEFAULT_CAPABILITIES = [
  'CAP_AUDIT_WRITE',
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_NET_BIND_SERVICE',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_CHROOT',
] as const;

const KNOWN = new Set<string>([
  ...DEFAULT_CAPABILITIES,
  ...'BLOCK_SUSPEND BPF CHECKPOINT_RESTORE DAC_READ_SEARCH IPC_LOCK IPC_OWNER LEASE LINUX_IMMUTABLE MKNOD NET_ADMIN NET_BROADCAST NET_RAW PERFMON SYS_ADMIN SYS_NICE SYS_PACCT SYS_PTRACE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG SYSLOG WAKE_ALARM'
    .split(' ')
    .map((name) => `CAP_${name}`),
]);
/** These give the host away, whatever else is done: loading code into its kernel, its ports and memory, its reset. */
const NEVER = new Set([
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_BOOT',
  'CAP_MAC_ADMIN',
  'CAP_MAC_OVERRIDE',
]);

/** The default set and what is asked beyond it. Errors: unsupported, naming the capability. */
export function capabilitySet(asked: readonly string[]): string[] {
  for (const name of asked) {
    if (NEVER.has(name))
      throw new SkerryError('unsupported', `${name} is not given to containers: it gives the node away`);
    if (!KNOWN.has(name)) throw new SkerryError('unsupported', `there is no capability ${name}`);
  }
  return [...new Set([...DEFAULT_CAPABILITIES, ...asked])].sort();
}
