/**
 * The JSON documents of an image (github.com/opencontainers/image-spec; Docker's image manifest v2 schema 2), read with
 * suspicion: they come from strangers. Only what is used is looked at, and its shape is checked.
 */
import { SkerryError } from '@skerry/model';
import { checkDigest } from '../content/blob-store.ts';

export const METADATA_LIMIT_BYTES = 4 * 1024 * 1024;
const LAYER_LIMIT = 256;

export const INDEX_TYPES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
];
export const MANIFEST_TYPES = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly sizeBytes: number;
  readonly platform?: { readonly architecture: string; readonly os: string };
  readonly annotations: Readonly<Record<string, string>>;
}

export interface ImageManifest {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly annotations: Readonly<Record<string, string>>;
}

export interface ImageConfig {
  readonly architecture: string;
  readonly os: string;
  readonly diffIds: readonly string[];
  readonly config: {
    readonly entrypoint?: readonly string[];
    readonly cmd?: readonly string[];
    readonly env?: readonly string[];
    readonly workingDir?: string;
    readonly user?: string;
    readonly stopSignal?: string;
    readonly exposedPorts?: readonly string[];
    readonly labels?: Readonly<Record<string, string>>;
  };
}

type Json = Record<string, unknown>;

const invalid = (message: string, cause?: unknown) => new SkerryError('image_invalid', message, { cause });

/** Errors: image_invalid naming `what`. */
export function parseDocument(text: string, what: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw invalid(`${what} is no JSON: ${(cause as Error).message}`, cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(`${what} is no JSON object`);
  return value as Json;
}

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const strings = (value: unknown, what: string): string[] | undefined => {
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value) || value.length > 10_000 || value.some((item) => typeof item !== 'string'))
    throw invalid(`${what} is no list of texts`);
  return value as string[];
};
const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined;
const textMap = (value: unknown): Record<string, string> =>
  isObject(value)
    ? Object.fromEntries(
        Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
      )
    : {};

/** kraft calls architectures as the Linux kernel does. */
const COMMON_ARCHITECTURES = new Map([
  ['x86_64', 'amd64'],
  ['aarch64', 'arm64'],
]);
const commonArchitecture = (name: string) => COMMON_ARCHITECTURES.get(name) ?? name;

export function parseDescriptor(value: unknown, what: string): Descriptor {
  if (!isObject(value)) throw invalid(`${what} is no descriptor`);
  const { size, platform } = value;
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
    throw invalid(`${what} has no valid size`);
  return {
    mediaType: text(value.mediaType) ?? '',
    digest: checkDigest(String(value.digest)),
    sizeBytes: size,
    annotations: textMap(value.annotations),
    ...(isObject(platform)
      ? {
          platform: {
            architecture: commonArchitecture(String(platform.architecture)),
            os: String(platform.os),
          },
        }
      : {}),
  };
}

/** An index (list of manifests) or undefined where the document is none. */
export function parseIndex(document: Json): Descriptor[] | undefined {
  if (!Array.isArray(document.manifests)) return undefined;
  if (document.manifests.length > 1000) throw invalid('the index lists more than 1000 manifests');
  return document.manifests.map((item, i) => parseDescriptor(item, `manifest ${i} of the index`));
}

export function parseManifest(document: Json): ImageManifest {
  if (!Array.isArray(document.layers)) throw invalid('the manifest lists no layers');
  if (document.layers.length > LAYER_LIMIT)
    throw invalid(`the manifest lists more than ${LAYER_LIMIT} layers`);
  return {
    config: parseDescriptor(document.config, 'the config of the manifest'),
    layers: document.layers.map((item, i) => parseDescriptor(item, `layer ${i} of the manifest`)),
    annotations: textMap(document.annotations),
  };
}

export function parseConfig(document: Json): ImageConfig {
  const inner = isObject(document.config) ? document.config : {};
  const rootfs = isObject(document.rootfs) ? document.rootfs : {};
  const entrypoint = strings(inner.Entrypoint, 'Entrypoint');
  const cmd = strings(inner.Cmd, 'Cmd');
  const env = strings(inner.Env, 'Env');
  const workingDir = text(inner.WorkingDir);
  const user = text(inner.User);
  const stopSignal = text(inner.StopSignal);
  return {
    architecture: commonArchitecture(text(document.architecture) ?? 'unknown'),
    os: text(document.os) ?? 'linux',
    diffIds: (strings(rootfs.diff_ids, 'rootfs.diff_ids') ?? []).map(checkDigest),
    config: {
      ...(entrypoint ? { entrypoint } : {}),
      ...(cmd ? { cmd } : {}),
      ...(env ? { env } : {}),
      ...(workingDir ? { workingDir } : {}),
      ...(user ? { user } : {}),
      ...(stopSignal ? { stopSignal } : {}),
      ...(isObject(inner.ExposedPorts)
        ? { exposedPorts: Object.keys(inner.ExposedPorts).slice(0, 100) }
        : {}),
      ...(isObject(inner.Labels) ? { labels: textMap(inner.Labels) } : {}),
    },
  };
}

/** The architecture of this machine in the words of the OCI. */
export const hostArchitecture = (): string =>
  ({ x64: 'amd64', ia32: '386' })[process.arch as string] ?? process.arch;

/** What stands as a platform's `os` where kraft packed a unikernel: its hypervisor. */
export const UNIKRAFT_PLATFORMS: readonly string[] = [
  'qemu',
  'fc',
  'firecracker',
  'xen',
  'kraftcloud',
  'kvm',
];

/** The manifest for a platform. Errors: image_invalid that lists what there is. */
export function choosePlatform(
  descriptors: readonly Descriptor[],
  architecture = hostArchitecture(),
): Descriptor {
  // Attestations of build tools are listed with the platform unknown/unknown.
  const real = descriptors.filter((one) => one.platform?.os !== 'unknown');
  // A unikernel that kraft packed is for the platform of a hypervisor.
  const fits = ['linux', 'qemu']
    .map((os) => real.find((one) => one.platform?.os === os && one.platform.architecture === architecture))
    .find((one) => one !== undefined);
  if (fits) return fits;
  if (real.length === 1 && !real[0]!.platform) return real[0]!;
  const has = real
    .map((one) => (one.platform ? `${one.platform.os}/${one.platform.architecture}` : 'unnamed'))
    .join(', ');
  const unikraft = real.some((one) => UNIKRAFT_PLATFORMS.includes(one.platform?.os ?? ''))
    ? '; of the builds of a unikernel, Skerry starts those for qemu'
    : '';
  throw invalid(`the image has nothing for linux/${architecture}: it has ${has || 'nothing'}${unikraft}`);
}
