/**
 * The device program as a process that outlives the agent: known by its folder in its arguments, adopted when it runs
 * already, begun anew when another version of it is installed. No secret is in its arguments.
 */
import { existsSync, mkdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HubClient } from '@skerry/devices/client';
import {
  commandLine,
  endProcess,
  type Identity,
  isAlive,
  type ProcessRef,
  processesWithArgument,
  startDaemon,
} from '@skerry/host';
import { SkerryError } from '@skerry/model';
import { type Clock, pause } from '@skerry/reconcile';

/** It takes 0.2 s; on a machine that is overloaded, or with a hundred thousand devices, many. */
const START_LIMIT_MS = 60_000;
const LOOK_EVERY_MS = 20;
/** It syncs what it holds. */
const GRACE_MS = 10_000;
const MOST_LOG_BYTES = 4 * 1024 * 1024;

/** What the agent's device service asks of the process. */
export interface DeviceProgram {
  /** Whether it was to run when the agent ended: it is begun again without a controller. */
  wasWanted(): boolean;
  /** Starts it, or adopts the one that runs. Resolves when it answers. Errors: host_command_failed, host_timeout. */
  ensure(signal: AbortSignal): Promise<HubClient>;
  end(): Promise<void>;
  /** As `end`, and it is not to run again until `ensure`. */
  retire(): Promise<void>;
}

export const devicesFolder = ({ dataDir }: Identity): string => join(dataDir, 'devices');
const folderArgument = (identity: Identity) => `--folder=${devicesFolder(identity)}`;

/** All of this data folder, by their arguments. */
export async function endDeviceProgram(identity: Identity): Promise<void> {
  const all = processesWithArgument(folderArgument(identity));
  await Promise.all(all.map((ref) => endProcess(ref, GRACE_MS)));
}

export interface ProgramOptions {
  readonly identity: Identity;
  /** The script, `dist/devices.mjs`. */
  readonly script: string;
  readonly clock: Clock;
}

export function createDeviceProgram({ identity, script, clock }: ProgramOptions): DeviceProgram {
  const folder = devicesFolder(identity);
  const socketPath = join(identity.runDir, 'devices.sock');
  const wanted = join(folder, 'wanted');
  const logFile = join(folder, 'devices.log');
  const client = new HubClient(socketPath);

  const args = () => [
    script,
    folderArgument(identity),
    `--socket=${socketPath}`,
    // another one than runs: the program was updated
    `--build=${Math.round(statSync(script).mtimeMs)}`,
  ];
  const find = (): ProcessRef | undefined => {
    const [first] = processesWithArgument(folderArgument(identity));
    return first && args().every((word) => commandLine(first).includes(word)) ? first : undefined;
  };
  const answers = (signal: AbortSignal) =>
    client.standing(signal).then(
      () => true,
      () => false,
    );

  const begin = async (): Promise<ProcessRef> => {
    if (existsSync(logFile) && statSync(logFile).size > MOST_LOG_BYTES) truncateSync(logFile);
    rmSync(socketPath, { force: true });
    return startDaemon({ file: process.execPath, args: args(), cwd: folder, logFile });
  };

  return {
    wasWanted: () => existsSync(wanted),
    async ensure(signal) {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      mkdirSync(identity.runDir, { recursive: true, mode: 0o711 });
      writeFileSync(wanted, '');
      let ref = find();
      if (!ref) {
        await endDeviceProgram(identity); // of another version
        ref = await begin();
      }
      const until = clock.monotonicMs() + START_LIMIT_MS;
      while (!(await answers(AbortSignal.any([signal, AbortSignal.timeout(START_LIMIT_MS)])))) {
        signal.throwIfAborted();
        if (!isAlive(ref))
          throw new SkerryError('host_command_failed', `the device program ended at once: see ${logFile}`);
        if (clock.monotonicMs() > until) {
          await endProcess(ref, 0);
          throw new SkerryError('host_timeout', `the device program did not answer: see ${logFile}`);
        }
        await pause(clock, LOOK_EVERY_MS, signal);
      }
      return client;
    },
    end: () => endDeviceProgram(identity),
    async retire() {
      rmSync(wanted, { force: true });
      await endDeviceProgram(identity);
    },
  };
}
