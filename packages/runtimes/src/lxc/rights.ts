/** What a system container may not do: capabilities, system calls, devices. Pure. */
import { SkerryError } from '@skerry/model';

/** Nobody gets these: they give the node away (capabilities(7)). */
const NEVER = ['mac_admin', 'mac_override', 'sys_module', 'sys_rawio'];
/** Given where asked for. The clock and the kernel's log are the node's. */
const DROPPED = ['audit_control', 'audit_read', 'block_suspend', 'sys_time', 'syslog', 'wake_alarm'];

/** As LXC names them. An init needs most of the others. Errors: unsupported, naming the capability. */
export function droppedCapabilities(asked: readonly string[]): string[] {
  const names = asked.map((name) => name.replace(/^CAP_/, '').toLowerCase());
  const refused = names.find((name) => NEVER.includes(name));
  if (refused !== undefined)
    throw new SkerryError(
      'unsupported',
      `CAP_${refused.toUpperCase()} is not given to system containers: it gives the node away`,
    );
  return [...NEVER, ...DROPPED.filter((name) => !names.includes(name))];
}

/**
 * LXC's form (lxc.container.conf(5), SECCOMP): all but these. Kernels and modules to load, file handles that reach around
 * mounts, ports, swap, and counting what the processor does are the node's.
 */
export const SECCOMP = `2
denylist
reject_force_umount
[all]
${[
  'kexec_load',
  'kexec_file_load',
  'open_by_handle_at',
  'init_module',
  'finit_module',
  'delete_module',
  'iopl',
  'ioperm',
  'swapon',
  'swapoff',
  'perf_event_open',
  'userfaultfd',
]
  .map((name) => `${name} errno 1`)
  .join('\n')}
`;

/** null, zero, full, random, urandom, tty, console, ptmx, terminals (Documentation/admin-guide/devices.txt). Nodes may be made, not opened. */
export const DEVICES = [
  'c *:* m',
  'b *:* m',
  ...['1:3', '1:5', '1:7', '1:8', '1:9', '5:0', '5:1', '5:2', '136:*'].map((node) => `c ${node} rwm`),
];
