/** `skerry up`: takes the data folder, starts all, serves until it is asked to end. Guests outlive every way of ending. */
import { openSync, readSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { createClient } from '@skerry/contract';
import { isAlive, launchThrough, openDataFolder, readHold, startDaemon, takeHold } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import type { NodeOptions } from './compose.ts';
import { builtPath, programPath } from './layout.ts';
import { createLogger } from './log.ts';

export interface UpOptions extends NodeOptions {
  readonly listen?: string;
  /** The agent alone, by its ledger. */
  readonly alone?: boolean;
}

/** `host:port` or `[v6]:port`. Errors: request_invalid. */
export function parseListen(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (!host || port > 65535 || (match?.[1] && isIP(match[1]) !== 6)) {
    throw new SkerryError(
      'request_invalid',
      `"${text}" is no address to listen on: write it like 0.0.0.0:7443 or [::]:7443`,
    );
  }
  return { host, port };
}

function needRoot(): void {
  if (process.getuid?.() !== 0) {
    throw new SkerryError(
      'host_missing',
      'skerry up makes namespaces, bridges and cgroups, and needs root: run it as root or with sudo',
    );
  }
}

/** Serves until SIGTERM or SIGINT. */
export async function runUp(dataDir: string, options: UpOptions): Promise<void> {
  const https = options.listen === undefined ? undefined : parseListen(options.listen);
  needRoot();
  // Every file that is nobody else's has its own mode, and the data folder is closed. What guests must read under another user
  // (their resolv.conf, volumes, mapped root folders) would be closed to them too by a narrower mask.
  process.umask(0o022);
  const identity = openDataFolder(dataDir);
  const release = takeHold(identity, options.listen);
  const logger = createLogger();
  const ending = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => ending.abort());
  process.on('unhandledRejection', (error) =>
    logger.error({ err: error }, 'a task failed that nobody waited for'),
  );
  const { signal } = ending;
  const undo: (() => Promise<void> | void)[] = [release, launchThrough(builtPath('launcher'))];
  try {
    const { composeController, composeNode, NODE_NAME } = await import('./compose.ts');
    const node = await composeNode(identity, options, logger, signal);
    undo.push(() => node.ledger.close());
    if (!options.alone) {
      const { store, controller } = composeController(identity, node.images, logger);
      undo.push(() => store.close());
      controller.attachNode(NODE_NAME, node.agent.node);
      await controller.start();
      undo.push(() => controller.stop());
      node.agent.connect(controller.link);
      await controller.listen({
        socketPath: join(identity.dataDir, 'api.sock'),
        ...(https ? { https } : {}),
      });
    }
    await node.agent.start(signal);
    undo.push(() => node.agent.stop());
    logger.info(
      { dataDir: identity.dataDir, id: identity.id, alone: options.alone === true },
      'skerry is up',
    );
    if (!signal.aborted)
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    logger.info({}, 'ending; guests go on');
  } finally {
    for (const task of undo.reverse())
      await Promise.resolve(task()).catch((error) => logger.error({ err: error }, 'not ended cleanly'));
  }
  // Connections to engines may linger; everything that must be written is.
  process.exit(process.exitCode ?? 0);
}

const START_LIMIT_MS = 60_000;

/** The end of the log since `from`, for people. */
function logTail(path: string, from: number): string {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  const length = Math.min(size - from, 4096);
  if (length <= 0) return '';
  const buffer = Buffer.alloc(length);
  readSync(openSync(path, 'r'), buffer, 0, length, size - length);
  return buffer.toString('utf8').trim();
}

/** Starts the program in the background; returns when its socket answers. Errors: what the program said when it ended. */
export async function startDetached(
  dataDir: string,
  options: UpOptions,
): Promise<{ pid: number; tookMs: number }> {
  if (options.listen !== undefined) parseListen(options.listen);
  needRoot();
  const begun = performance.now();
  const identity = openDataFolder(dataDir);
  const other = readHold(identity);
  if (other)
    throw new SkerryError(
      'already_running',
      `Skerry runs already on ${identity.dataDir} as process ${other.process.pid}`,
    );
  const logFile = join(identity.dataDir, 'skerry.log');
  const from = statSync(logFile, { throwIfNoEntry: false })?.size ?? 0;
  const args = [
    ...process.execArgv,
    programPath(),
    'up',
    '--data',
    identity.dataDir,
    ...(options.listen === undefined ? [] : ['--listen', options.listen]),
    ...(options.engine === undefined ? [] : ['--engine', options.engine]),
    ...(options.docker === undefined ? [] : ['--docker', options.docker]),
    ...(options.sim ? ['--sim'] : []),
    ...(options.alone ? ['--alone'] : []),
  ];
  const child = await startDaemon({
    file: process.execPath,
    args,
    logFile,
    env: { ...(process.env.SKERRY_LOG ? { SKERRY_LOG: process.env.SKERRY_LOG } : {}) },
  });
  const client = createClient({ socketPath: join(identity.dataDir, 'api.sock') });
  const answers = options.alone
    ? async () => readHold(identity)?.process.pid === child.pid
    : () =>
        client.healthz().then(
          () => readHold(identity)?.process.pid === child.pid,
          () => false,
        );
  try {
    while (!(await answers())) {
      if (!isAlive(child))
        throw new SkerryError(
          'unavailable',
          `skerry ended at once: ${logTail(logFile, from) || 'it said nothing'}`,
        );
      if (performance.now() - begun > START_LIMIT_MS)
        throw new SkerryError(
          'host_timeout',
          `skerry does not answer after ${START_LIMIT_MS / 1000} s; its log is ${logFile}`,
        );
      await pause(10);
    }
  } finally {
    await client.close();
  }
  return { pid: child.pid, tookMs: performance.now() - begun };
}
