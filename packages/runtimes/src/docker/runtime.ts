/**
 * Containers behind the runtime port on a Docker or Podman engine that somebody else runs, through its HTTP API. The network, the images
 * and the logs' meaning are Skerry's; the engine is never started, stopped or configured from here.
 */
import { existsSync } from 'node:fs';
import { cgroupUsage, clearCgroup, type Identity, removeCgroup } from '@skerry/host';
import type { ImageContent } from '@skerry/images';
import { type Bytes, type GuestStats, type Id, SkerryError } from '@skerry/model';
import { planGuest } from '../plan-guest.ts';
import type { ExecPower, GuestEvent, GuestState, GuestStep, Runtime } from '../port.ts';
import { EngineApi, EngineRefusal } from './engine-api.ts';
import { type EngineFacts, engineFacts } from './engine-facts.ts';
import { engineEvents } from './events.ts';
import { dockerExec } from './exec-session.ts';
import { DockerGuests } from './guests.ts';
import { EngineImages } from './images.ts';
import { isRunning } from './judge.ts';
import { KEPT_LINES, keepDockerLog } from './keep-log.ts';
import { dockerLogs } from './logs.ts';
import { probeDocker } from './probe.ts';
import { Records } from './record.ts';

/** containerd's shim and the engine's own share of a container: 9 MiB proportional set size measured with dockerd 20.10. */
const OVERHEAD_BYTES = 10 * 1024 * 1024;

export interface DockerLogger {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
}

export interface DockerOptions {
  readonly identity: Identity;
  readonly images: ImageContent;
  readonly logger: DockerLogger;
  /** The engine's socket: `/var/run/docker.sock` is Docker's, `/run/podman/podman.sock` Podman's. Which it is, the engine says. */
  readonly socketPath: string;
  /** No other is taken where it answers there. Default: either. */
  readonly only?: EngineFacts['flavour'];
}

export function createDockerRuntime({ identity, images, logger, socketPath, only }: DockerOptions): Runtime {
  const api = new EngineApi(socketPath);
  const records = new Records(identity);
  const engineImages = new EngineImages(api, images, identity.id);
  let known: EngineFacts | undefined;
  const guests = new DockerGuests({
    ...{ identity, api, records, images: engineImages },
    facts() {
      if (!known)
        throw new SkerryError('engine_unavailable', `the engine at ${socketPath} was not asked yet`);
      return known;
    },
  });

  const ended = async (uid: Id<'instance'>): Promise<GuestEvent | undefined> => {
    const found = await guests.inspect(uid);
    if (!found || isRunning(found) || !records.has(uid)) return undefined;
    return { type: 'exited', uid, exit: await guests.judge.exit(uid, found) };
  };
  const outOfMemory = (uid: Id<'instance'>): GuestEvent => {
    const name = records.read(uid)?.spec.name ?? uid;
    return { type: 'oom', uid, message: `the kernel ended a process of ${name}: over its memory limit` };
  };

  /** Errors in the engine's own words become those of the registry. */
  const asked = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof EngineRefusal)) throw error;
      throw new SkerryError('guest_start_failed', `the engine refused: ${error.message}`, { cause: error });
    }
  };

  const exec: ExecPower = {
    async exec(uid, request, signal) {
      if ((await guests.state(uid, signal)).state !== 'running')
        throw new SkerryError('guest_not_running', `${uid} is not running`);
      return dockerExec(api, guests.path(uid), request, signal);
    },
  };

  return {
    kind: 'container',
    async start(signal) {
      known = await asked(() => engineFacts(api, signal, only));
      await engineImages.sweep().catch((error) => logger.warn({ err: error }, 'images were not swept'));
    },
    stop: () => api.close(),
    async destroy(signal) {
      const last = new EngineApi(socketPath);
      const mine = new EngineImages(last, images, identity.id);
      const left = new DockerGuests({ identity, api: last, records, images: mine, facts: () => known! });
      try {
        // An engine that is not there any more keeps nothing that could be removed.
        if (existsSync(socketPath)) {
          for (const uid of await left.list(signal)) await left.remove(uid, signal);
          await mine.sweep(true);
        }
      } finally {
        await last.close();
      }
      for (const uid of records.list()) records.remove(uid);
      await clearCgroup(`${identity.cgroup}/conmon`); // Podman's monitors, ending with their containers
      removeCgroup(identity.cgroup);
    },
    probe: (signal) => probeDocker(api, signal, only),
    recover: (uid, signal) => asked(() => guests.recover(uid, signal)),
    list: (signal) => asked(() => guests.list(signal)),
    plan: planGuest,
    apply: (step: GuestStep, signal): Promise<GuestState> =>
      asked(async () => {
        if (signal.aborted) throw new SkerryError('cancelled', `cancelled before "${step.do}"`);
        if (step.do === 'create') return guests.create(step.spec, signal);
        if (step.do === 'start') return guests.start(step.uid, signal);
        if (step.do === 'stop') return guests.stop(step.uid, step.graceMs, signal);
        return guests.remove(step.uid, signal);
      }),
    events: (signal): AsyncIterable<GuestEvent> =>
      engineEvents(
        {
          ...{ api, identityId: identity.id, ended, outOfMemory },
          wholeSeconds: known?.flavour === 'podman',
        },
        signal,
      ),
    async stats(uid, signal): Promise<GuestStats> {
      const { cpuMs = 0, memoryBytes = 0, pids } = cgroupUsage(await asked(() => guests.cgroup(uid, signal)));
      const memoryLimitBytes = records.read(uid)?.spec.memoryBytes ?? (0 as Bytes);
      return {
        ...{ cpuMs, memoryBytes, memoryLimitBytes },
        ...(pids === undefined ? {} : { pids }),
      };
    },
    logs: (uid, options, signal) => dockerLogs(api, guests.path(uid), options, signal),
    async keepLog(uid, folder, signal) {
      const end = dockerLogs(api, guests.path(uid), { tail: KEPT_LINES }, signal);
      await keepDockerLog(end, folder);
    },
    overheadBytes: () => OVERHEAD_BYTES as Bytes,
    exec,
  };
}
