/** Starts a guest: its group, LXC's configuration, and skerry-system, which makes the root and starts LXC's monitor. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cgroupFolder, cgroupMode, makeCgroup, run } from '@skerry/host';
import { asSkerryError, SkerryError } from '@skerry/model';
import { lxcConfig } from './config.ts';
import type { SystemFolder, SystemRecord } from './guest-folder.ts';
import { guardLimits } from './memory.ts';
import { SECCOMP } from './rights.ts';

export const LXC_START = '/usr/bin/lxc-start';
/** skerry-system gives up after 60 s by itself. */
const START_LIMIT_MS = 70_000;

/** Files that skerry-system enters the group by. With v2 a group with groups below has no processes itself (cgroups(7)). */
function groupEntries(folder: SystemFolder, { spec }: SystemRecord): string[] {
  const entries = makeCgroup(folder.cgroup, guardLimits(spec));
  if (cgroupMode() !== 'v2') return entries;
  const own = cgroupFolder(`${folder.cgroup}/supervisor`, '');
  mkdirSync(own, { recursive: true });
  return [join(own, 'cgroup.procs')];
}

function arguments_(folder: SystemFolder, record: SystemRecord, image: string): string[] {
  const { spec, firstId, init } = record;
  const mapped = firstId !== undefined && spec.network?.kind === 'netns';
  return [
    ...['--folder', folder.run, '--log', folder.data],
    ...['--group', cgroupFolder(folder.payload, 'memory')],
    ...groupEntries(folder, record).flatMap((entry) => ['--cgroup', entry]),
    ...['--layer', folder.seed, '--image', image],
    ...(spec.diskBytes === undefined ? ['--upper', folder.layer] : ['--disk', folder.layerImage]),
    ...(spec.security.readOnlyRoot ? ['--root', 'ro'] : []),
    ...(firstId === undefined ? [] : ['--ids', String(firstId)]),
    ...spec.volumes.flatMap(({ hostPath, mount, readOnly }) => [
      ...[readOnly ? '--volume-ro' : '--volume', hostPath, '--at', mount],
    ]),
    ...(mapped && spec.network?.kind === 'netns' ? ['--netns', spec.network.path] : []),
    ...['--', LXC_START, '-P', folder.lxcPath, '-n', folder.uid, '--', ...init!.command],
  ];
}

/** Errors: guest_start_failed with what LXC said, unsupported, cancelled. */
export async function launch(
  folder: SystemFolder,
  record: SystemRecord,
  image: string,
  supervisorPath: string,
  signal: AbortSignal,
): Promise<void> {
  const seccompPath = join(folder.run, 'seccomp');
  const config = lxcConfig(record.spec, {
    ...{ rootfs: folder.rootfs, seccompPath, cgroupMode: cgroupMode() },
    payload: folder.payload.slice(1),
    monitor: `${folder.cgroup}/monitor`.slice(1),
    ...(record.firstId === undefined ? {} : { firstId: record.firstId }),
    hasAppArmor: existsSync('/sys/kernel/security/apparmor/profiles'),
  });
  writeFileSync(seccompPath, SECCOMP, { mode: 0o600 });
  writeFileSync(join(folder.run, 'config'), config, { mode: 0o600 });
  try {
    await run(supervisorPath, arguments_(folder, record, image), { signal, timeoutMs: START_LIMIT_MS });
  } catch (cause) {
    const error = asSkerryError(cause);
    if (error.code === 'cancelled') throw error;
    throw new SkerryError(
      'guest_start_failed',
      `${record.spec.name} could not be started: ${error.message}`,
      {
        cause,
      },
    );
  }
}
