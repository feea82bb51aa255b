/** A data folder with a private containerd and a busybox image, for tests on real parts. Takes everything away again. */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Identity, openDataFolder } from '@skerry/host';
import type { ImageContent } from '@skerry/images';
import { type Bytes, type Id, newId, SkerryError } from '@skerry/model';
import { pack } from 'tar-stream';
import type { GuestSpec, GuestState, Runtime } from '../../port.ts';
import { createContainerdRuntime } from '../runtime.ts';

const APPLETS =
  'sh cat cp dd df echo env grep head hostname httpd id kill ls mkdir mount mknod nc ping ps pwd rm sleep stat stty sync tail test touch trap true false tr tty umount unshare wc wget yes'.split(
    ' ',
  );

interface Entry {
  readonly name: string;
  readonly type?: 'directory' | 'symlink';
  readonly body?: Buffer | string;
  readonly mode?: number;
  readonly linkname?: string;
}

async function tar(entries: readonly Entry[]): Promise<Buffer> {
  const archive = pack();
  for (const { name, type, body = '', mode = 0o755, linkname } of entries) {
    archive.entry({ name, mode, ...(type ? { type } : {}), ...(linkname ? { linkname } : {}) }, body);
  }
  archive.finalize();
  const pieces: Buffer[] = [];
  for await (const piece of archive) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

const digestOf = (data: Buffer | string) => `sha256:${createHash('sha256').update(data).digest('hex')}`;

export interface TestImages extends ImageContent {
  readonly digest: string;
  /** Leaves the image out of the store from now on. */
  forget(): void;
}

/** Two layers, so that snapshots have parents: busybox and its names, then users. */
export async function busyboxImages(folder: string): Promise<TestImages> {
  mkdirSync(folder, { recursive: true });
  const base = await tar([
    ...['bin', 'dev', 'etc', 'proc', 'root', 'sys', 'tmp', 'run', 'data'].map(
      (name): Entry => ({ name, type: 'directory', mode: name === 'tmp' ? 0o1777 : 0o755 }),
    ),
    { name: 'bin/busybox', body: readFileSync('/bin/busybox') },
    ...APPLETS.map((name): Entry => ({ name: `bin/${name}`, type: 'symlink', linkname: 'busybox' })),
  ]);
  const users = await tar([
    { name: 'etc/passwd', body: 'root:x:0:0::/root:/bin/sh\nworker:x:1000:1001::/:/bin/sh\n', mode: 0o644 },
    { name: 'etc/group', body: 'root:x:0:\nworker:x:1001:\nextra:x:2002:root,worker\n', mode: 0o644 },
  ]);
  const layers = [base, users].map((data) => {
    const digest = digestOf(data);
    writeFileSync(join(folder, digest.slice(7)), data);
    return {
      digest,
      sizeBytes: data.length,
      mediaType: 'application/vnd.oci.image.layer.v1.tar',
      diffId: digest,
    };
  });
  const digest = digestOf(JSON.stringify(layers));
  let known = true;
  return {
    digest,
    blobPath: (blob) => join(folder, blob.slice(7)),
    has: async (blob) => blob === digest,
    async facts(wanted) {
      if (wanted !== digest || !known) throw new SkerryError('image_not_found', `no image ${wanted}`);
      const config = { cmd: ['/bin/sh', '-c', 'sleep 1000'], env: ['FROM_IMAGE=yes'], workingDir: '/root' };
      return { kind: 'container', digest, sizeBytes: 0, source: 'test', facts: { layers, config } };
    },
    forget() {
      known = false;
    },
  };
}

export interface World {
  readonly identity: Identity;
  readonly images: TestImages;
  /** With an address: on that engine instead of a private one. */
  runtime(engine?: { readonly address: string }): Runtime;
  /** Everything of this data folder, and the folder itself. */
  end(): Promise<void>;
}

const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined };

export async function createWorld(): Promise<World> {
  const dataDir = mkdtempSync(join(tmpdir(), 'skerry-containerd-'));
  const identity = openDataFolder(dataDir);
  const images = await busyboxImages(join(dataDir, 'test-blobs'));
  const made: Runtime[] = [];
  const make = (engine?: { readonly address: string }) => {
    const runtime = createContainerdRuntime({
      identity,
      images,
      logger: quiet,
      ...(engine ? { engine } : {}),
    });
    made.push(runtime);
    return runtime;
  };
  return {
    identity,
    images,
    runtime: make,
    async end() {
      for (const runtime of made) await runtime.stop();
      await make().destroy(AbortSignal.timeout(60_000));
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

export function guestSpec(images: TestImages, change: Partial<GuestSpec> = {}): GuestSpec {
  return {
    uid: newId<'instance'>(),
    name: 'guest-0',
    project: 'default',
    workload: 'guest',
    runtime: 'container',
    incarnation: '1',
    imageDigest: images.digest,
    cpus: 1,
    memoryBytes: (64 * 1024 * 1024) as Bytes,
    pids: 64,
    env: {},
    addressing: 'static',
    ports: [],
    volumes: [],
    security: { readOnlyRoot: false, capabilities: [], userNamespace: false },
    ...change,
  };
}

/** A shell script as the guest's command. */
export const shell = (script: string) => ({ command: ['/bin/sh', '-c', script] });

export async function run(runtime: Runtime, spec: GuestSpec): Promise<GuestState> {
  const signal = AbortSignal.timeout(60_000);
  await runtime.apply({ do: 'create', spec }, signal);
  return runtime.apply({ do: 'start', uid: spec.uid }, signal);
}

/** All that the guest wrote so far. */
export async function logText(runtime: Runtime, uid: Id<'instance'>): Promise<string> {
  const lines: string[] = [];
  for await (const line of runtime.logs(uid, {}, AbortSignal.timeout(30_000))) lines.push(line.text);
  return lines.join('\n');
}
