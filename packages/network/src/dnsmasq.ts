/**
 * One dnsmasq(8) as a daemon that outlives the program: known by its folder's pid file and its command line, adopted when
 * it runs already, begun anew when its configuration is another.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  commandLine,
  endProcess,
  isAlive,
  type ProcessRef,
  processesWithArgument,
  processRef,
  signalProcess,
  startDaemon,
} from '@skerry/host';
import { SkerryError } from '@skerry/model';

/** It takes 10 ms; on a machine that is overloaded, seconds. */
const START_LIMIT_MS = 20_000;

export interface Dnsmasq {
  /** Starts it, or adopts the one that runs and lets it read its files again; `renew` ends that one first. Errors: host_missing, host_command_failed. */
  ensure(config: string, renew: boolean): Promise<void>;
  /** Writes a file of the folder, whole at once. */
  put(path: string, text: string): void;
  /** Lets it read its files again. */
  reload(): void;
  running(): boolean;
  stop(): Promise<void>;
}

const readOr = (path: string, otherwise: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
};

/** `folder` is there. */
export function createDnsmasq(folder: string): Dnsmasq {
  const configFile = join(folder, 'dnsmasq.conf');

  /** The one of this folder, by its pid file; a process that was given the same id since is told apart by its arguments. */
  const find = (): ProcessRef | undefined => {
    try {
      const ref = processRef(Number(readFileSync(join(folder, 'pid'), 'utf8')));
      return ref && commandLine(ref).includes(`--conf-file=${configFile}`) ? ref : undefined;
    } catch {
      return undefined;
    }
  };
  const running = () => find() !== undefined;

  const put = (path: string, text: string) => {
    const temporary = join(folder, `.${path.replaceAll('/', '-')}`); // outside the watched folders: seen only when whole
    writeFileSync(temporary, text, { mode: 0o644 });
    renameSync(temporary, join(folder, path));
  };

  /** By their arguments: one whose pid file was lost would hold the address for ever. */
  const endAll = async () => {
    const all = processesWithArgument(`--conf-file=${configFile}`);
    await Promise.all(all.map((ref) => endProcess(ref, 1000)));
  };

  const begin = async () => {
    for (const name of ['pid', 'log']) rmSync(join(folder, name), { force: true });
    const ref = await startDaemon({
      file: 'dnsmasq',
      args: ['--keep-in-foreground', `--conf-file=${configFile}`],
      logFile: join(folder, 'log'),
    });
    const until = performance.now() + START_LIMIT_MS;
    while (!running()) {
      if (!isAlive(ref) || performance.now() > until) {
        await endProcess(ref, 0);
        const words = readOr(join(folder, 'log'), '').trim().split('\n').slice(-2).join(' | ');
        throw new SkerryError('host_command_failed', `the name server dnsmasq did not start: ${words}`);
      }
      await delay(5); // it writes its pid file once it has bound its sockets
    }
  };

  return {
    async ensure(config, renew) {
      const before = readOr(configFile, ''); // none: the first start since the machine booted
      const old = find();
      if (old && !renew && before === config) return signalProcess(old, 'SIGHUP');
      await endAll();
      put('dnsmasq.conf', config);
      await begin();
    },
    put,
    reload() {
      const ref = find();
      if (ref) signalProcess(ref, 'SIGHUP');
    },
    running,
    stop: endAll,
  };
}
