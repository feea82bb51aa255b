/**
 * Containers behind the runtime port, on containerd over gRPC: a private instance below the data folder, or the system's
 * by its address. This file only joins the parts; engine, guests, events, logs and exec each have their own.
 */
import { existsSync } from 'node:fs';
import { cgroupUsage, type Identity } from '@skerry/host';
import type { ImageContent } from '@skerry/images';
import { type Bytes, type GuestStats, type Id, SkerryError } from '@skerry/model';
import { EventQueue } from '../event-queue.ts';
import { logLines } from '../log-lines.ts';
import { moveLog } from '../move-log.ts';
import { planGuest } from '../plan-guest.ts';
import type { ExecPower, GuestState, GuestStep, Runtime } from '../port.ts';
import { Engine } from './engine.ts';
import { ExecExits } from './exec-exits.ts';
import { openExec } from './exec-session.ts';
import { translate } from './failures.ts';
import { execFolder } from './guest-files.ts';
import { Guests } from './guests.ts';
import { clearEngine, clearShared } from './leftovers.ts';
import { findLogProgram } from './log-program.ts';
import type { Logger } from './logger.ts';
import { probeContainers } from './probe.ts';
import { Subscription } from './subscription.ts';
import { layerBytes } from './writable-layer.ts';

/** A shim and its log program: 2.5 MiB proportional set size measured with fifty of them; the rest is reserve. */
const OVERHEAD_BYTES = 4 * 1024 * 1024;

const SWEEP_EVERY_MS = 30_000;

export interface ContainerdOptions {
  readonly identity: Identity;
  readonly images: ImageContent;
  readonly logger: Logger;
  /** Socket of the system's containerd. Without it, a private one is started and ended by this runtime. */
  readonly engine?: { readonly address?: string };
}

export function createContainerdRuntime(options: ContainerdOptions): Runtime {
  const { identity, images, logger } = options;
  const engine = new Engine(identity, logger, options.engine?.address);
  const events = new EventQueue();
  const logProgram = findLogProgram();
  const guests = new Guests({
    identity,
    engine,
    images,
    logger,
    logProgram,
    onExit: (uid, exit) => events.emit({ type: 'exited', uid, exit }),
  });
  const execExits = new ExecExits();
  let subscription: Subscription | undefined;
  let sweeping: NodeJS.Timeout | undefined;

  const memoryMessage = (uid: Id<'instance'>) =>
    `the kernel ended a process of ${guests.folders.read(uid)?.spec.name ?? uid}: over its memory limit`;

  const handlers = {
    exited(uid: string, pid: number, code: number, atMs: number) {
      guests.endings.heard(uid as Id<'instance'>, pid, code, atMs);
    },
    execExited: (execId: string, code: number) => execExits.ended(execId, code),
    outOfMemory(uid: string, atMs: number) {
      const id = uid as Id<'instance'>;
      guests.endings.outOfMemory(id, atMs);
      if (guests.folders.has(id)) events.emit({ type: 'oom', uid: id, message: memoryMessage(id) });
    },
    resync() {
      guests.endings.releaseEnded();
      guests.unpacker.forget();
      guests.unpacker
        .clearInterrupted()
        .catch((error) => logger.warn({ err: error }, 'what an unpacking left could not be removed'));
      events.emit({ type: 'resync' });
    },
  };

  async function apply(step: GuestStep, signal: AbortSignal): Promise<GuestState> {
    await engine.ensureAnswering(signal);
    if (step.do === 'create') return guests.create(step.spec, signal);
    if (step.do === 'start') return guests.start(step.uid, signal);
    if (step.do === 'stop') return guests.stop(step.uid, step.graceMs, signal);
    return guests.remove(step.uid, signal);
  }

  const exec: ExecPower = {
    async exec(uid, request, signal) {
      const record = guests.folders.read(uid);
      if (!record || record.exit) throw new SkerryError('guest_not_running', `${uid} is not running`);
      const folder = execFolder(identity, uid);
      return openExec(
        { client: engine.client, exits: execExits, uid, process: record.process, folder },
        request,
        signal,
      );
    },
  };

  return {
    kind: 'container',
    async start(signal) {
      if (!existsSync(logProgram)) {
        throw new SkerryError(
          'host_missing',
          `the log program is missing: ${logProgram} (make -C packages/runtimes/native)`,
        );
      }
      if (subscription) return;
      const started = await engine.ensure(signal);
      if (started) logger.info({ socket: engine.socket }, 'containerd was started');
      await guests.unpacker.clearInterrupted();
      await guests.unpacker.sweep();
      subscription = new Subscription(engine, identity.engineNamespace, handlers, logger);
      await subscription.start(signal);
      // Images go without a word to us; their snapshots follow.
      sweeping = setInterval(() => {
        guests.unpacker.sweep().catch((error) => logger.debug({ err: error }, 'images were not swept'));
      }, SWEEP_EVERY_MS).unref();
    },
    async stop() {
      clearInterval(sweeping);
      await subscription?.stop();
      subscription = undefined;
      engine.close();
    },
    async destroy(signal) {
      clearInterval(sweeping);
      await subscription?.stop();
      subscription = undefined;
      const wasMade = !engine.isPrivate || existsSync(engine.paths.root);
      if (wasMade) {
        await engine.ensure(signal);
        for (const uid of await guests.list(signal)) await guests.remove(uid, signal);
        if (!engine.isPrivate) {
          await guests.unpacker.removeAll();
          await engine.client
            .call('Namespaces.Delete', { name: identity.engineNamespace })
            .catch(() => undefined);
        }
        await engine.end();
      }
      engine.close();
      await clearEngine(engine, identity, signal);
      await clearShared(identity);
    },
    probe: (signal) => probeContainers(engine, logProgram, signal),
    async recover(uid, signal) {
      await engine.ensureAnswering(signal);
      try {
        return await guests.recover(uid, signal);
      } catch (error) {
        throw translate(error, 'internal', `${uid} could not be looked at`);
      }
    },
    async list(signal) {
      await engine.ensureAnswering(signal);
      return guests.list(signal);
    },
    plan: planGuest,
    async apply(step, signal) {
      try {
        return await apply(step, signal);
      } catch (error) {
        throw translate(
          error,
          step.do === 'create' || step.do === 'start' ? 'guest_start_failed' : 'internal',
          step.do,
        );
      }
    },
    events: (signal) => events.listen(signal),
    async stats(uid): Promise<GuestStats> {
      const record = guests.folders.read(uid);
      if (!record || record.exit) throw new SkerryError('guest_not_running', `${uid} is not running`);
      const disk = layerBytes(guests.folders.files(uid));
      const { cpuMs = 0, memoryBytes = 0, pids } = cgroupUsage(guests.cgroup(uid));
      return {
        cpuMs,
        memoryBytes,
        memoryLimitBytes: record.spec.memoryBytes,
        ...(pids === undefined ? {} : { pids }),
        ...(disk === undefined ? {} : { diskBytes: disk }),
      };
    },
    async *logs(uid, logOptions, signal) {
      await guests.endings.released(uid);
      const { folder } = guests.folders.files(uid);
      yield* logLines(folder, logOptions, signal, () => guests.endings.hasLastWords(uid));
    },
    async keepLog(uid, folder) {
      await guests.endings.released(uid);
      moveLog(guests.folders.files(uid).folder, folder);
    },
    overheadBytes: () => OVERHEAD_BYTES as Bytes,
    exec,
  };
}
