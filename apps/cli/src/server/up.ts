/**
 * `skerry up`, `controller` and `agent`: takes the data folder, starts its part, serves until it is asked to end. Guests
 * outlive every way of ending.
 */
import { openSync, readSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Client, createClient } from '@skerry/contract';
import {
  type Identity,
  isAlive,
  launchThrough,
  openDataFolder,
  readHold,
  startDaemon,
  takeHold,
} from '@skerry/host';
import { SkerryError } from '@skerry/model';
import type { NodeOptions, NodeParts } from './compose.ts';
import { builtPath, programPath } from './layout.ts';
import { createLogger, type Logger } from './log.ts';

/** `up`: both on one machine. `controller`: no guests here. `agent`: guests for a controller elsewhere. */
export type Role = 'up' | 'controller' | 'agent';

export interface UpOptions extends NodeOptions {
  readonly role?: Role;
  readonly listen?: string;
  /** agent: the token with which this machine joins, unless it has joined. */
  readonly join?: string;
  /** agent: the name that it wants. */
  readonly name?: string;
  /** controller: how long an agent may be away before its node is lost, in milliseconds. */
  readonly lostAfter?: number;
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

function needRoot(role: Role): void {
  if (role !== 'controller' && process.getuid?.() !== 0) {
    throw new SkerryError(
      'host_missing',
      `skerry ${role} makes namespaces, bridges and cgroups, and needs root: run it as root or with sudo`,
    );
  }
}

/** Serves until SIGTERM or SIGINT. */
export async function runUp(dataDir: string, given: UpOptions): Promise<void> {
  const { role = 'up' } = given;
  const https = given.listen === undefined ? undefined : parseListen(given.listen);
  needRoot(role);
  // Every file that is nobody else's has its own mode, and the data folder is closed. What guests must read under another user
  // (their resolv.conf, volumes, mapped root folders) would be closed to them too by a narrower mask.
  process.umask(0o022);
  const { DEFAULT_LISTEN, parseListenUrl } = await import('@skerry/devices/client');
  const devices = given.devices ?? DEFAULT_LISTEN;
  for (const url of devices) if (url !== 'none') parseListenUrl(url);
  const options = { ...given, devices };
  const identity = openDataFolder(dataDir);
  const release = takeHold(identity, given.listen);
  if (role === 'agent')
    await joinOnce(identity, options).catch((error) => {
      release();
      throw error;
    });
  const logger = createLogger();
  const ending = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => ending.abort());
  process.on('unhandledRejection', (error) =>
    logger.error({ err: error }, 'a task failed that nobody waited for'),
  );
  const { signal } = ending;
  const undo: (() => Promise<void> | void)[] = [release, launchThrough(builtPath('launcher'))];
  try {
    const compose = await import('./compose.ts');
    const parts =
      role === 'agent'
        ? await startAgent(identity, options, logger, signal, undo)
        : role === 'controller'
          ? undefined
          : await compose.composeNode(identity, options, logger, signal);
    if (parts) undo.push(() => parts.ledger.close());
    if (role !== 'agent' && !options.alone) {
      const images = parts?.images ?? (await compose.composeImages(identity));
      const { store, controller } = compose.composeController(identity, images, logger, options.lostAfter);
      undo.push(() => store.close());
      if (parts) controller.attachNode(compose.NODE_NAME, parts.agent.node);
      await controller.start();
      undo.push(() => controller.stop());
      parts?.agent.connect(controller.link);
      await controller.listen({
        socketPath: join(identity.dataDir, 'api.sock'),
        ...(https ? { https } : {}),
      });
    }
    if (parts) {
      await parts.agent.start(signal);
      undo.push(() => parts.agent.stop());
    }
    logger.info(
      { dataDir: identity.dataDir, id: identity.id, role, alone: options.alone === true },
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

/** The agent of a node whose controller is elsewhere. It joins first where it has not; its ledger needs no controller. */
async function startAgent(
  identity: Identity,
  options: UpOptions,
  logger: Logger,
  signal: AbortSignal,
  undo: (() => Promise<void> | void)[],
): Promise<NodeParts> {
  const { composeNode } = await import('./compose.ts');
  const { ControllerConnection, readCredentials } = await import('@skerry/app-agent/joined');
  const { realClock } = await import('@skerry/reconcile');
  const credentials = readCredentials(identity.dataDir);
  if (!credentials) throw notJoined();
  let parts: NodeParts | undefined;
  const connection: import('@skerry/app-agent/joined').ControllerConnection = new ControllerConnection({
    ...{ dataDir: identity.dataDir, credentials, clock: realClock, logger: logger.child({ room: 'link' }) },
    known: () => parts!.agent.desired(),
    node: () => parts!.agent.node,
  });
  const forNode = {
    ...options,
    nodeName: credentials.node,
    imageSource: () => connection.images,
    ...(credentials.subnet === undefined ? {} : { subnet: credentials.subnet }),
  };
  parts = await composeNode(identity, forNode, logger, signal);
  if (!options.alone) {
    undo.push(() => connection.close());
    parts.agent.connect(connection);
  }
  return parts;
}

const notJoined = () =>
  new SkerryError(
    'request_invalid',
    'this data folder has joined no controller: make a token there with `skerry node token`, and give it with --join',
  );

/** Spends the token where this data folder has not joined yet. Returns the node's name. Errors: request_invalid without one. */
async function joinOnce(identity: Identity, options: UpOptions): Promise<string> {
  const { dataDir } = identity;
  const { joinController, readCredentials } = await import('@skerry/app-agent/joined');
  const known = readCredentials(dataDir);
  if (known) return known.node;
  if (options.join === undefined) throw notJoined();
  const { subnetsToOffer } = await import('./subnet.ts');
  const subnets = await subnetsToOffer(identity, AbortSignal.timeout(30_000));
  return (await joinController(dataDir, options.join, options.name ?? hostLabel(), subnets)).node;
}

/** The machine's name as a DNS label. */
function hostLabel(): string {
  const label = hostname()
    .toLowerCase()
    .split('.')[0]!
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '');
  return label.slice(0, 63) || 'node';
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

const NODE_LIMIT_MS = 15_000;

/** The controller answers before the agent has told of its machine: whoever asks next is to find the node. Waits a while, no more. */
async function nodeTold(client: Client, isRunning: () => boolean): Promise<void> {
  const { NODE_NAME } = await import('./compose.ts');
  const until = performance.now() + NODE_LIMIT_MS;
  const told = () =>
    client.node.show({ name: NODE_NAME }).then(
      ({ status }) => status.phase === 'ready',
      () => false,
    );
  while (!(await told()) && isRunning() && performance.now() < until) await pause(20);
}

/** Starts the program in the background; returns when its socket answers. Errors: what the program said when it ended. */
export async function startDetached(
  dataDir: string,
  options: UpOptions,
): Promise<{ pid: number; tookMs: number }> {
  const { role = 'up' } = options;
  if (options.listen !== undefined) parseListen(options.listen);
  needRoot(role);
  const begun = performance.now();
  const identity = openDataFolder(dataDir);
  const other = readHold(identity);
  if (other)
    throw new SkerryError(
      'already_running',
      `Skerry runs already on ${identity.dataDir} as process ${other.process.pid}`,
    );
  // In the foreground: who types it sees why it failed, and no token is in a list of processes for longer than that.
  if (role === 'agent') await joinOnce(identity, options);
  const logFile = join(identity.dataDir, 'skerry.log');
  const from = statSync(logFile, { throwIfNoEntry: false })?.size ?? 0;
  const args = [
    ...process.execArgv,
    programPath(),
    role,
    '--data',
    identity.dataDir,
    ...(options.listen === undefined ? [] : ['--listen', options.listen]),
    ...(options.engine === undefined ? [] : ['--engine', options.engine]),
    ...(options.docker === undefined ? [] : ['--docker', options.docker]),
    ...(options.sim ? ['--sim'] : []),
    ...(options.lostAfter === undefined ? [] : ['--lost-after', `${options.lostAfter}ms`]),
    ...(options.alone ? ['--alone'] : []),
    ...(options.underlay === undefined ? [] : ['--underlay', options.underlay]),
    ...(options.access ?? []).flatMap((address) => ['--access', address]),
    ...(options.devices ?? []).flatMap((url) => ['--devices', url]),
    ...(options.deviceBroker === undefined ? [] : ['--device-broker', options.deviceBroker]),
    ...(options.deviceBrokerCredentials === undefined
      ? []
      : ['--device-broker-credentials', options.deviceBrokerCredentials]),
    ...(options.deviceBrokerTopics === undefined
      ? []
      : ['--device-broker-topics', options.deviceBrokerTopics]),
    ...(options.network ?? []).flatMap((one) => ['--network', `${one.name}=${one.bridge}`]),
    ...(options.accessInterface ?? []).flatMap((one) => [
      '--access-interface',
      `${one.interface}=${one.accessPoint}`,
    ]),
  ];
  const child = await startDaemon({
    file: process.execPath,
    args,
    logFile,
    env: { ...(process.env.SKERRY_LOG ? { SKERRY_LOG: process.env.SKERRY_LOG } : {}) },
  });
  const client = createClient({ socketPath: join(identity.dataDir, 'api.sock') });
  const answers =
    options.alone || role === 'agent'
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
    const tookMs = performance.now() - begun;
    if (role === 'up' && !options.alone) await nodeTold(client, () => isAlive(child));
    return { pid: child.pid, tookMs };
  } finally {
    await client.close();
  }
}
