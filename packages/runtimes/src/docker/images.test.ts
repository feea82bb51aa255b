// Images as they are given to an engine: layers in every compression; what is damaged or lies is refused, and nothing is left.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { ImageContent } from '@skerry/images';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { busyboxImages, guestSpec, logText, run, shell } from '../containerd/testing/world.ts';
import { EngineApi } from './engine-api.ts';
import { imageRepository } from './names.ts';
import { createDockerRuntime } from './runtime.ts';
import { type DockerBed, makeDockerBed } from './testing/bed.ts';
import { startDockerd } from './testing/dockerd.ts';
import { startPodman } from './testing/podman.ts';

const signal = AbortSignal.timeout(300_000);
const quiet = { info: () => undefined, warn: () => undefined };
type Layer = { digest: string; sizeBytes: number; mediaType: string; diffId: string };
const digestOf = (data: Buffer) => `sha256:${createHash('sha256').update(data).digest('hex')}`;

const COMPRESSIONS = {
  gzip: (data: Buffer) => gzipSync(data, { level: 1 }),
  zstd: (data: Buffer) =>
    execFileSync('zstd', ['-q', '-c', '-1'], { input: data, maxBuffer: 64 * 1024 * 1024 }),
};

describe.each([
  ['Docker', startDockerd],
  ['Podman', startPodman],
])('%s', (_engine, begin) => {
  let bed: DockerBed;
  let next = 0;
  beforeAll(async () => {
    bed = await makeDockerBed(begin);
  });
  afterAll(() => bed.close());

  /** The test's image, its layers changed first; under a digest of its own, for the engine keeps what it was given. */
  async function imagesWith(change: (data: Buffer, layer: Layer) => Buffer): Promise<ImageContent> {
    const folder = join(bed.identity.dataDir, `blobs-${next}`);
    mkdirSync(folder);
    const base = await busyboxImages(folder);
    const facts = await base.facts(base.digest);
    for (const layer of facts.facts.layers as Layer[]) {
      const data = change(readFileSync(base.blobPath(layer.digest)), layer);
      layer.digest = digestOf(data);
      writeFileSync(base.blobPath(layer.digest), data);
      layer.sizeBytes = data.length;
    }
    const digest = digestOf(Buffer.from(`image ${next++}`));
    return {
      blobPath: base.blobPath,
      has: async (wanted) => wanted === digest,
      facts: async () => ({ ...facts, digest }),
    };
  }
  const unpacking = () => readdirSync(tmpdir()).filter((name) => name.startsWith('skerry-engine-layer-'));
  async function withRuntime<T>(
    images: ImageContent,
    work: (runtime: ReturnType<typeof createDockerRuntime>, digest: string) => Promise<T>,
  ): Promise<T> {
    const { identity, engine } = bed;
    const runtime = createDockerRuntime({ identity, images, logger: quiet, socketPath: engine.socketPath });
    try {
      await runtime.start(signal);
      return await work(runtime, (await images.facts('')).digest);
    } finally {
      await runtime.stop();
      await runtime.destroy(signal);
    }
  }

  test.each(Object.entries(COMPRESSIONS))('layers with %s are loaded and run', async (how, compress) => {
    const before = unpacking();
    const images = await imagesWith((data, layer) => {
      layer.mediaType = `application/vnd.oci.image.layer.v1.tar+${how}`;
      return compress(data);
    });
    await withRuntime(images, async (runtime, digest) => {
      const spec = guestSpec({ digest } as never, shell('cat /etc/passwd | wc -l'));
      await run(runtime, spec);
      await eventually('its output', async () => (await logText(runtime, spec.uid)) === '2');
    });
    expect(unpacking()).toEqual(before);
  });

  test.each<[string, (data: Buffer, layer: Layer) => Buffer]>([
    ['is zstd that was cut off', (data) => COMPRESSIONS.zstd(data).subarray(0, 400)],
    [
      'unpacks to something else than promised',
      (data, layer) => {
        layer.diffId = `sha256:${'1'.repeat(64)}`;
        return COMPRESSIONS.zstd(data);
      },
    ],
  ])('an image whose layer %s is refused, and nothing of it stays', async (_what, change) => {
    const before = unpacking();
    await withRuntime(await imagesWith(change), async (runtime, digest) => {
      const spec = guestSpec({ digest } as never);
      await expect(runtime.apply({ do: 'create', spec }, signal)).rejects.toMatchObject({
        code: 'image_invalid',
      });
      expect(await runtime.recover(spec.uid, signal)).toEqual({ state: 'absent' });
      const api = new EngineApi(bed.engine.socketPath);
      const filters = JSON.stringify({ reference: [`${imageRepository(bed.identity.id)}:*`] });
      expect(await api.call('GET', '/images/json', { query: { filters } })).toEqual([]);
      await api.close();
    });
    expect(unpacking()).toEqual(before);
  });
});
