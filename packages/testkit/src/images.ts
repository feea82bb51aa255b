/**
 * Archives of container images, made here: a busybox root file system (Debian's busybox-static) or whatever entries a test
 * wants, in each form that the world hands around. No registry and no engine is asked.
 */
import { createHash } from 'node:crypto';
import { createWriteStream, readFileSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { gzipSync } from 'node:zlib';
import { type Header, pack } from 'tar-stream';

/** A file (`body`), or whatever `type` and `linkname` say. Its mode is 0755 unless told. */
export type TarEntry = Partial<Header> & { readonly name: string; readonly body?: string | Uint8Array };

/** `docker` is `docker save` before version 25, `docker-oci` the one since, with an OCI layout inside. */
export type ArchiveForm = 'oci' | 'docker' | 'docker-oci';

export interface ImageContentOptions {
  readonly cmd?: readonly string[];
  readonly env?: readonly string[];
  readonly user?: string;
  /** In the words of the OCI; default: this machine's. */
  readonly arch?: string;
  readonly gzip?: boolean;
}

export interface ArchiveOptions extends ImageContentOptions {
  /** Default `busybox:1`. */
  readonly name?: string;
  readonly form?: ArchiveForm;
}

export interface TestBlob {
  readonly digest: string;
  readonly data: Buffer;
  readonly mediaType: string;
}
export interface TestImage {
  readonly config: TestBlob;
  readonly layers: readonly TestBlob[];
  readonly manifest: TestBlob;
}

export const digestOf = (data: Uint8Array | string): string =>
  `sha256:${createHash('sha256').update(data).digest('hex')}`;

export const testArchitecture = (): string => (process.arch === 'x64' ? 'amd64' : process.arch);

function packEntries(entries: readonly TarEntry[]) {
  const tar = pack();
  for (const { body, ...header } of entries) {
    const full = { mode: 0o755, mtime: new Date(0), ...header };
    if (body === undefined) tar.entry(full);
    else tar.entry(full, typeof body === 'string' ? body : Buffer.from(body));
  }
  tar.finalize();
  return tar;
}

export async function tarOf(entries: readonly TarEntry[]): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of packEntries(entries)) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

export async function writeTar(path: string, entries: readonly TarEntry[]): Promise<void> {
  await pipeline(packEntries(entries), createWriteStream(path));
}

const blob = (content: Buffer | object, mediaType: string): TestBlob => {
  const data = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content));
  return { digest: digestOf(data), data, mediaType };
};
export const descriptorOf = ({ digest, data, mediaType }: TestBlob) => ({
  mediaType,
  digest,
  size: data.length,
});

/** The blobs of an image whose layers are these tars. */
export function testImage(tars: readonly Buffer[], options: ImageContentOptions = {}): TestImage {
  const { cmd = ['/bin/sh'], env = ['PATH=/bin'], user = '', arch = testArchitecture() } = options;
  const layers = tars.map((tar) =>
    options.gzip
      ? blob(gzipSync(tar), 'application/vnd.oci.image.layer.v1.tar+gzip')
      : blob(tar, 'application/vnd.oci.image.layer.v1.tar'),
  );
  const config = blob(
    {
      architecture: arch,
      os: 'linux',
      config: { Cmd: cmd, Env: env, User: user },
      rootfs: { type: 'layers', diff_ids: tars.map(digestOf) },
    },
    'application/vnd.oci.image.config.v1+json',
  );
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = blob(
    { schemaVersion: 2, mediaType, config: descriptorOf(config), layers: layers.map(descriptorOf) },
    mediaType,
  );
  return { config, layers, manifest };
}

const blobName = ({ digest }: TestBlob) => `blobs/${digest.replace(':', '/')}`;

/** The entries of an archive in one of its forms. */
export function archiveEntries(image: TestImage, name: string, form: ArchiveForm): TarEntry[] {
  const { config, layers, manifest } = image;
  if (form === 'docker') {
    // One folder for each layer, and the config by the digest of its text: Docker's image specification, version 1.2.
    const folder = (layer: TestBlob, i: number) => digestOf(`${i} ${layer.digest}`).slice(7);
    const configName = `${config.digest.slice(7)}.json`;
    const Layers = layers.map((layer, i) => `${folder(layer, i)}/layer.tar`);
    return [
      { name: configName, body: config.data },
      ...layers.flatMap((layer, i): TarEntry[] => [
        { name: `${folder(layer, i)}/`, type: 'directory' },
        { name: `${folder(layer, i)}/VERSION`, body: '1.0' },
        { name: Layers[i]!, body: layer.data },
      ]),
      { name: 'manifest.json', body: JSON.stringify([{ Config: configName, RepoTags: [name], Layers }]) },
    ];
  }
  const dockerNames = {
    'io.containerd.image.name': `docker.io/library/${name}`,
    'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
  };
  const annotations = form === 'oci' ? { 'org.opencontainers.image.ref.name': name } : dockerNames;
  const docker = { Config: blobName(config), RepoTags: [name], Layers: layers.map(blobName) };
  return [
    { name: 'oci-layout', body: '{"imageLayoutVersion":"1.0.0"}' },
    ...[...new Set([config, ...layers, manifest])].map((one) => ({ name: blobName(one), body: one.data })),
    {
      name: 'index.json',
      body: JSON.stringify({ schemaVersion: 2, manifests: [{ ...descriptorOf(manifest), annotations }] }),
    },
    ...(form === 'docker-oci' ? [{ name: 'manifest.json', body: JSON.stringify([docker]) }] : []),
  ];
}

const APPLETS = 'sh cat cp date dd df echo env grep head hostname httpd id kill ls mkdir mount nc ping ps'
  .concat(' pwd rm sleep stat sync tail test touch true false umount uname wc wget yes')
  .split(' ');

/** A root file system: busybox, its names, the usual folders, two users. */
export function busyboxEntries(): TarEntry[] {
  const folders = ['bin', 'dev', 'etc', 'proc', 'root', 'run', 'sys', 'tmp', 'var'];
  return [
    ...folders.map((name): TarEntry => ({ name: `${name}/`, type: 'directory' })),
    { name: 'bin/busybox', body: readFileSync('/bin/busybox') },
    ...APPLETS.map((name): TarEntry => ({ name: `bin/${name}`, type: 'symlink', linkname: 'busybox' })),
    { name: 'etc/passwd', mode: 0o644, body: 'root:x:0:0::/root:/bin/sh\nworker:x:1000:1000::/:/bin/sh\n' },
    { name: 'etc/group', mode: 0o644, body: 'root:x:0:\nworker:x:1000:\n' },
  ];
}

/** Writes an image of busybox to `path`; `files`, by their path without a leading slash, are a second layer. */
export async function buildBusyboxArchive(
  path: string,
  options: ArchiveOptions & { readonly files?: Readonly<Record<string, string | Uint8Array>> } = {},
): Promise<TestImage> {
  const { name = 'busybox:1', form = 'oci', files = {} } = options;
  const more = Object.entries(files).map(([file, body]): TarEntry => ({ name: file, body }));
  const tars = [await tarOf(busyboxEntries()), ...(more.length > 0 ? [await tarOf(more)] : [])];
  const image = testImage(tars, options);
  await writeTar(path, archiveEntries(image, name, form));
  return image;
}
