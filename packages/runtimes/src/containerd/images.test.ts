import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { endProcess, openDataFolder, type ProcessRef } from '@skerry/host';
import type { ImageContent } from '@skerry/images';
import { SkerryError } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { expect, test } from 'vitest';
import type { Runtime } from '../port.ts';
import { EngineClient, type SnapshotInfo } from './client.ts';
import { enginePaths } from './engine-config.ts';
import { chainIds, ImageUnpacker } from './image-unpack.ts';
import { createContainerdRuntime } from './runtime.ts';
import { busyboxImages, createWorld, guestSpec, logText, run, shell } from './testing/world.ts';

const signal = AbortSignal.timeout(300_000);
const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined };

async function snapshotNames(client: EngineClient): Promise<string[]> {
  const found: string[] = [];
  const pages = client.stream<{ info: SnapshotInfo[] }>('Snapshots.List', {}, signal);
  for await (const { info } of pages) found.push(...info.map(({ name }) => name));
  return found.sort();
}

async function contentCount(client: EngineClient): Promise<number> {
  let count = 0;
  const pages = client.stream<{ info: unknown[] }>('Content.List', {}, signal);
  for await (const { info } of pages) count += info.length;
  return count;
}

test('the identity of a stack of layers is what the specification says', () => {
  const hash = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`;
  const [a, b, c] = [hash('a'), hash('b'), hash('c')];
  expect(chainIds([a, b, c])).toEqual([a, hash(`${a} ${b}`), hash(`${hash(`${a} ${b}`)} ${c}`)]);
  expect(chainIds([])).toEqual([]);
});

test('an image is unpacked once by many callers, keeps no second copy, and goes when the store lost it', async () => {
  const world = await createWorld();
  const client = new EngineClient(enginePaths(world.identity).socket, world.identity.engineNamespace);
  try {
    const runtime = world.runtime();
    await runtime.start(signal);
    const specs = Array.from({ length: 5 }, () => guestSpec(world.images));
    await Promise.all(specs.map((spec) => run(runtime, spec)));
    expect(await snapshotNames(client)).toHaveLength(2 + 5);
    expect(await contentCount(client)).toBe(0);
    world.images.forget();
    const unpacker = new ImageUnpacker(client, world.images, quiet);
    await unpacker.sweep();
    expect(await snapshotNames(client)).toHaveLength(2 + 5); // guests stand on it
    for (const { uid } of specs) await runtime.apply({ do: 'remove', uid }, signal);
    await unpacker.sweep();
    expect(await snapshotNames(client)).toEqual([]);
  } finally {
    client.close();
    await world.end();
  }
});

/** A world whose image was changed first. */
async function withImage(
  change: (facts: Awaited<ReturnType<ImageContent['facts']>>, folder: string) => void,
  use: (runtime: Runtime, digest: string, client: EngineClient, engine: () => ProcessRef) => Promise<void>,
): Promise<void> {
  const dataDir = mkdtempSync(join(tmpdir(), 'skerry-containerd-'));
  const identity = openDataFolder(dataDir);
  const folder = join(dataDir, 'blobs');
  mkdirSync(folder);
  const base = await busyboxImages(folder);
  const facts = await base.facts(base.digest);
  change(facts, folder);
  const images: ImageContent = { ...base, facts: async () => facts };
  const make = () => createContainerdRuntime({ identity, images, logger: quiet });
  const client = new EngineClient(enginePaths(identity).socket, identity.engineNamespace);
  const runtime = make();
  try {
    await runtime.start(signal);
    const engine = () => JSON.parse(readFileSync(enginePaths(identity).record, 'utf8')) as ProcessRef;
    await use(runtime, base.digest, client, engine);
  } finally {
    client.close();
    await runtime.stop();
    await make().destroy(signal);
    rmSync(dataDir, { recursive: true, force: true });
  }
}

type MutableLayer = { digest: string; sizeBytes: number; mediaType: string; diffId: string };
const layersOf = (facts: { facts: Record<string, unknown> }) => facts.facts.layers as MutableLayer[];

const COMPRESSIONS = {
  gzip: (data: Buffer) => gzipSync(data, { level: 1 }),
  zstd: (data: Buffer) =>
    execFileSync('zstd', ['-q', '-c', '-1'], { input: data, maxBuffer: 64 * 1024 * 1024 }),
};
type Compression = keyof typeof COMPRESSIONS;

function compress(how: Compression, facts: { facts: Record<string, unknown> }, folder: string): void {
  for (const layer of layersOf(facts)) {
    const data = COMPRESSIONS[how](readFileSync(join(folder, layer.digest.slice(7))));
    layer.digest = `sha256:${createHash('sha256').update(data).digest('hex')}`;
    layer.sizeBytes = data.length;
    layer.mediaType = `application/vnd.oci.image.layer.v1.tar+${how}`;
    writeFileSync(join(folder, layer.digest.slice(7)), data);
  }
}

test.each<[Compression, boolean]>([
  ['gzip', false],
  ['gzip', true],
  ['zstd', false],
  ['zstd', true],
])('layers with %s work (user namespace: %s)', (how, userNamespace) =>
  withImage(compress.bind(undefined, how), async (runtime, digest) => {
    const base = guestSpec({ digest } as never, shell('cat /etc/passwd | wc -l'));
    await run(runtime, { ...base, security: { ...base.security, userNamespace } });
    await eventually('its output', async () => (await logText(runtime, base.uid)) === '2');
  }),
);

test.each([
  [
    'the blob was changed on the disk',
    (layers: MutableLayer[], folder: string) => {
      writeFileSync(join(folder, layers[1]!.digest.slice(7)), Buffer.alloc(layers[1]!.sizeBytes, 'x'));
    },
  ],
  [
    'the blob is cut off',
    (layers: MutableLayer[], folder: string) => {
      const path = join(folder, layers[1]!.digest.slice(7));
      writeFileSync(path, readFileSync(path).subarray(0, 1000));
    },
  ],
  [
    'it unpacks to something else than promised',
    (layers: MutableLayer[]) => {
      layers[1]!.diffId = `sha256:${'1'.repeat(64)}`;
    },
  ],
])('an image is refused when %s, and nothing half done stays', (_what, damage) =>
  withImage(
    (facts, folder) => damage(layersOf(facts), folder),
    async (runtime, digest, client) => {
      const spec = guestSpec({ digest } as never);
      await expect(runtime.apply({ do: 'create', spec }, signal)).rejects.toMatchObject({
        code: 'image_invalid',
      });
      expect((await snapshotNames(client)).filter((name) => !name.startsWith('sha256:'))).toEqual([]);
      expect(await contentCount(client)).toBe(0);
      expect(await runtime.recover(spec.uid, signal)).toEqual({ state: 'absent' });
    },
  ),
);

test('a function or a kernel is no container image', () =>
  withImage(
    (facts) => Object.assign(facts, { kind: 'unikernel' }),
    async (runtime, digest) => {
      const spec = guestSpec({ digest } as never);
      await expect(runtime.apply({ do: 'create', spec }, signal)).rejects.toMatchObject({
        code: 'image_wrong_kind',
      });
    },
  ));

test('the engine killed in the middle of unpacking: the next try works, and nothing of the first is left', () =>
  withImage(
    (facts, folder) => compress('gzip', facts, folder),
    async (runtime, digest, client, engine) => {
      const spec = guestSpec({ digest } as never);
      const first = runtime.apply({ do: 'create', spec }, signal).then(
        () => undefined,
        (error) => error,
      );
      await eventually('unpacking has begun', async () => (await contentCount(client).catch(() => 0)) > 0, {
        everyMs: 1,
      });
      await endProcess(engine(), 0);
      const error = await first;
      if (error) expect(error).toBeInstanceOf(SkerryError);
      const state = await eventually('it runs', async () => {
        try {
          return await run(runtime, spec);
        } catch {
          return undefined;
        }
      });
      expect(state.state).toBe('running');
      await eventually('no upload is left', async () => (await contentCount(client)) === 0);
      await eventually('no half snapshot is left', async () =>
        (await snapshotNames(client)).every((name) => !name.startsWith('unpack-')),
      );
    },
  ));
