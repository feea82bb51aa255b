/** A whole controller for tests: a real store, a real socket in a temporary folder, the typed client. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Client, createClient } from '@skerry/contract';
import { createMemoryStore, openSqliteStore, type Store } from '@skerry/store';
import type { Clock } from '../clock.ts';
import { type Controller, createController } from '../controller.ts';
import type { Logger } from '../logger.ts';
import { createFakeImages, type FakeImages } from './fake-images.ts';
import { type FakeNode, type FakeNodeOptions, startFakeNode } from './fake-node.ts';

export interface Harness {
  readonly folder: string;
  readonly socketPath: string;
  readonly store: Store;
  readonly images: FakeImages;
  readonly client: Client;
  controller: Controller;
  node: FakeNode | undefined;
  /** Lines that were logged as errors, as JSON: a test that expects none looks here. */
  readonly errors: string[];
  httpsPort: number;
  /** Stops the controller and starts another on the same store. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

export interface HarnessOptions {
  readonly engine?: 'memory' | 'sqlite';
  readonly node?: FakeNodeOptions | false;
  readonly https?: boolean;
  readonly nodeGraceMs?: number;
  readonly clock?: Clock;
  /** Puts something between the controller and its store. */
  readonly wrapStore?: (store: Store) => Store;
}

export async function startHarness(options: HarnessOptions = {}): Promise<Harness> {
  const folder = await mkdtemp(join(tmpdir(), 'skerry-controller-'));
  const socketPath = join(folder, 'api.sock');
  const errors: string[] = [];
  const quiet = () => undefined;
  const log = (fields: object, message: string) => {
    const { err } = fields as { err?: Error };
    errors.push(`${message}: ${err?.stack ?? JSON.stringify(fields)}`);
  };
  const logger: Logger = { debug: quiet, info: quiet, warn: log, error: log };
  const store =
    options.engine === 'sqlite' ? openSqliteStore({ path: join(folder, 'store.db') }) : createMemoryStore();
  const images = createFakeImages();
  const client = createClient({ socketPath });

  const begin = async (harness: {
    controller?: Controller;
    node?: FakeNode | undefined;
    httpsPort: number;
  }) => {
    const clock = options.clock ? { clock: options.clock } : {};
    const grace = options.nodeGraceMs === undefined ? {} : { nodeGraceMs: options.nodeGraceMs };
    const controller = createController({
      store: options.wrapStore?.(store) ?? store,
      images,
      nodeName: 'local',
      dataDir: folder,
      logger,
      ...grace,
      ...clock,
    });
    await controller.start();
    const https = options.https ? { https: { host: '127.0.0.1', port: 0 } } : {};
    const listening = await controller.listen({ socketPath, ...https });
    harness.httpsPort = listening.https?.port ?? 0;
    harness.controller = controller;
    if (options.node === false) return;
    harness.node = await startFakeNode(controller.link, options.node);
    controller.attachNode(options.node?.name ?? 'local', harness.node.link);
  };
  const end = async (harness: Harness) => {
    await harness.node?.stop();
    await harness.controller.stop();
  };
  const harness = {
    folder,
    socketPath,
    store,
    images,
    client,
    errors,
    httpsPort: 0,
    node: undefined,
    async restart() {
      await end(harness as unknown as Harness);
      await begin(harness);
    },
    async close() {
      await client.close();
      await end(harness as unknown as Harness);
      await store.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
  await begin(harness);
  return harness as unknown as Harness;
}

/** Waits on a level, bounded. */
export async function eventually<T>(
  look: () => Promise<T>,
  good: (value: T) => boolean,
  limitMs = 10_000,
): Promise<T> {
  const end = Date.now() + limitMs;
  for (;;) {
    const value = await look();
    if (good(value)) return value;
    if (Date.now() > end)
      throw new Error(`it did not come to be within ${limitMs} ms; last: ${JSON.stringify(value)}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export const workload = (name: string, spec: object = {}, metadata: object = {}) => ({
  apiVersion: 'skerry/v1' as const,
  kind: 'Workload' as const,
  metadata: { name, ...metadata },
  spec: { runtime: 'sim' as const, image: 'sim', ...spec },
});
