import { expect, test } from 'vitest';
import { seccompProfile } from './seccomp.ts';

const allowedBy = (capabilities: string[]) =>
  new Set(
    seccompProfile(capabilities, 'x64')
      .syscalls.filter((rule) => rule.action === 'SCMP_ACT_ALLOW')
      .flatMap((rule) => rule.names),
  );

test('what changes the host or looks into others is denied by default', () => {
  const allowed = allowedBy([]);
  const dangerous =
    'mount umount2 pivot_root move_mount fsopen open_tree kexec_load kexec_file_load init_module finit_module delete_module bpf perf_event_open keyctl add_key request_key ptrace process_vm_readv process_vm_writev userfaultfd io_uring_setup io_uring_enter setns unshare reboot swapon swapoff settimeofday clock_settime acct quotactl open_by_handle_at iopl ioperm syslog nfsservctl lookup_dcookie sethostname chroot'.split(
      ' ',
    );
  expect(dangerous.filter((name) => allowed.has(name))).toEqual([]);
  expect(seccompProfile([], 'x64').defaultAction).toBe('SCMP_ACT_ERRNO');
});

test('ordinary programs find what they need', () => {
  const allowed = allowedBy([]);
  const needed =
    'read write openat close mmap mprotect futex clone execve exit_group epoll_wait accept4 socket connect sendmsg recvmsg rt_sigaction getrandom statx fstat newfstatat pipe2 dup3 wait4 nanosleep clock_nanosleep rseq set_robust_list prlimit64'.split(
      ' ',
    );
  expect(needed.filter((name) => !allowed.has(name))).toEqual([]);
});

test('clone may not make namespaces, and clone3 sends libc back to clone', () => {
  const rules = seccompProfile([], 'x64').syscalls;
  const clone = rules.filter((rule) => rule.names.includes('clone'));
  expect(clone).toHaveLength(1);
  expect(clone[0]!.args).toEqual([{ index: 0, value: 0x7e020000, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }]);
  expect(rules.find((rule) => rule.names.includes('clone3'))).toMatchObject({
    action: 'SCMP_ACT_ERRNO',
    errnoRet: 38,
  });
});

test('a capability brings the calls that it is for, and no others', () => {
  expect(allowedBy(['CAP_SYS_PTRACE']).has('ptrace')).toBe(true);
  expect(allowedBy(['CAP_SYS_PTRACE']).has('mount')).toBe(false);
  expect(allowedBy(['CAP_SYS_ADMIN']).has('mount')).toBe(true);
  expect(allowedBy(['CAP_SYS_ADMIN']).has('bpf')).toBe(false);
});
