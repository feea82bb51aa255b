/** What of the system containers works on this node, tried where it can be tried, and what to do where it does not. */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cgroupFolder, cgroupMode, type Identity, run } from '@skerry/host';
import { asSkerryError, type ProbeFinding } from '@skerry/model';
import { LXC_START } from './launch.ts';

export async function probeLxc(
  identity: Identity,
  supervisorPath: string,
  signal: AbortSignal,
): Promise<ProbeFinding[]> {
  const ok = (name: string, text: string): ProbeFinding => ({ name, ok: true, level: 'ok', text });
  try {
    const { stdout } = await run(LXC_START, ['--version'], { signal, timeoutMs: 5000 });
    if (!existsSync(supervisorPath))
      return [
        {
          ...{ name: 'system', ok: false, level: 'missing', remedy: 'make -C packages/runtimes/native' },
          text: `${supervisorPath} is not built`,
        },
      ];
    return [
      ok('system', `LXC ${stdout.trim()}: system containers over a shared image`),
      await userNamespaces(identity, supervisorPath, signal),
      groups(),
      ok(
        'system.nesting',
        'guests may hold containers themselves where system.nesting is set; give those a user namespace',
      ),
    ];
  } catch (error) {
    if (signal.aborted) throw error;
    const text = asSkerryError(error).message;
    return [{ name: 'system', ok: false, level: 'missing', text, remedy: 'apt-get install lxc' }];
  }
}

function groups(): ProbeFinding {
  const mode = cgroupMode();
  const wanted = mode === 'v2' ? [] : ['cpu', 'memory', 'pids', 'devices'];
  const missing = wanted.filter((name) => !existsSync(cgroupFolder('/', name)));
  const name = 'system.cgroup';
  if (missing.length === 0)
    return { name, ok: true, level: 'ok', text: `limits are enforced by control groups (${mode})` };
  return {
    ...{ name, ok: false, level: 'degraded' },
    text: `these limits are not enforced, for their control groups are missing: ${missing.join(', ')}`,
    remedy: 'start the kernel with these control groups, or with cgroup v2',
  };
}

/** A root with moved owners is made in earnest on the file system of the data folder. */
async function userNamespaces(
  identity: Identity,
  supervisorPath: string,
  signal: AbortSignal,
): Promise<ProbeFinding> {
  const folder = join(identity.dataDir, 'system-probe');
  const name = 'system.userNamespace';
  try {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { mode: 0o700 });
    await run(supervisorPath, ['--probe', folder], { signal, timeoutMs: 10_000 });
    return {
      ...{ name, ok: true, level: 'ok' },
      text: 'guests have ids of their own, on one unpacked image (idmapped mounts)',
    };
  } catch (error) {
    if (signal.aborted) throw error;
    return {
      ...{ name, ok: false, level: 'degraded' },
      text: `guests can not have ids of their own: ${asSkerryError(error).message}`,
      remedy:
        'Linux 5.19 or newer with user namespaces, the data folder on ext4, xfs or btrfs; else security.userNamespace: false',
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
