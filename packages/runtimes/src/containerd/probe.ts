/** What containers need of the node and what it has, in sentences to act on. Starts nothing but `--version` of programs. */
import { existsSync, readFileSync } from 'node:fs';
import { cgroupMode, readSysctl, run } from '@skerry/host';
import type { ProbeFinding } from '@skerry/model';
import { findEngines } from '../docker/find-engines.ts';
import type { Engine } from './engine.ts';

const finding = (
  name: string,
  level: ProbeFinding['level'],
  text: string,
  remedy?: string,
): ProbeFinding => ({
  name,
  ok: level !== 'missing',
  level,
  text,
  ...(remedy === undefined ? {} : { remedy }),
});

async function versionOf(file: string, signal: AbortSignal): Promise<string | undefined> {
  try {
    const { stdout } = await run(file, ['--version'], { signal, timeoutMs: 5000 });
    return /\d+\.\d+(\.\d+)?/.exec(stdout)?.[0];
  } catch {
    return undefined;
  }
}

function readable(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

export async function probeContainers(
  engine: Engine,
  logProgram: string,
  signal: AbortSignal,
): Promise<ProbeFinding[]> {
  const [containerd, runc, answers, others] = await Promise.all([
    engine.isPrivate ? versionOf('containerd', signal) : undefined,
    versionOf('runc', signal),
    engine.answers(2000, signal),
    findEngines(signal),
  ]);
  const findings: ProbeFinding[] = [];
  if (engine.isPrivate && containerd === undefined) {
    findings.push(
      finding('container', 'missing', 'containerd is not installed', 'apt-get install containerd'),
    );
  } else if (runc === undefined) {
    findings.push(finding('container', 'missing', 'runc is not installed', 'apt-get install runc'));
  } else if (!engine.isPrivate && answers === undefined) {
    const remedy = 'start it, or let Skerry run its own by leaving out the address';
    findings.push(finding('container', 'missing', `no containerd answers on ${engine.socket}`, remedy));
  } else if (!existsSync(logProgram)) {
    const remedy = 'build it: make -C packages/runtimes/native';
    findings.push(finding('container', 'missing', `the log program ${logProgram} is missing`, remedy));
  } else {
    const which = engine.isPrivate
      ? `its own containerd ${containerd}`
      : `the containerd at ${engine.socket}`;
    const state = answers === undefined ? ', not started yet' : '';
    findings.push(finding('container', 'ok', `containers run on ${which} with runc ${runc}${state}`));
  }
  findings.push(
    /\boverlay$/m.test(readable('/proc/filesystems'))
      ? finding('container.overlay', 'ok', 'overlayfs is there')
      : finding('container.overlay', 'missing', 'the kernel has no overlayfs', 'modprobe overlay'),
    cgroupFinding(),
    /^Seccomp:/m.test(readable('/proc/self/status'))
      ? finding('container.seccomp', 'ok', 'system calls are filtered by seccomp')
      : finding(
          'container.seccomp',
          'missing',
          'the kernel has no seccomp',
          'boot a kernel with CONFIG_SECCOMP_FILTER',
        ),
    Number(readSysctl('user/max_user_namespaces') ?? 0) > 0
      ? finding('container.userNamespace', 'ok', 'containers may have mapped users (security.userNamespace)')
      : finding(
          'container.userNamespace',
          'degraded',
          'user namespaces are switched off: security.userNamespace will not work',
          'sysctl user.max_user_namespaces=15000',
        ),
    ...others,
  );
  return findings;
}

function cgroupFinding(): ProbeFinding {
  const mode = cgroupMode();
  if (mode === 'v2') return finding('container.limits', 'ok', 'limits by control groups, version 2');
  const missing = ['cpu', 'memory', 'pids'].filter((name) => !existsSync(`/sys/fs/cgroup/${name}`));
  return missing.length === 0
    ? finding(
        'container.limits',
        'ok',
        `limits by control groups, version 1${mode === 'hybrid' ? ' (hybrid)' : ''}`,
      )
    : finding(
        'container.limits',
        'missing',
        `control groups lack: ${missing.join(', ')}`,
        'boot with systemd.unified_cgroup_hierarchy=1',
      );
}
