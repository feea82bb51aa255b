/**
 * What the documents of an image say when a unikernel is packed in it: as kraft does (Unikraft; each file a layer of its
 * own, named by annotations), as urunc wants it (annotations `com.urunc.unikernel.…`, or the same keys in base64 in
 * /urunc.json), or as runh does for Hermit (the loader beside the application). Pure.
 */
import { SkerryError } from '@skerry/model';
import type { Family } from '../../unikernel/kernel-facts.ts';
import type { ImageConfig } from '../documents.ts';

export interface Declared {
  readonly packaging: 'kraft' | 'urunc' | 'runh';
  /** Path in the root file system, without a leading slash. */
  readonly kernel: string;
  readonly initrd?: string;
  /** The kernel is useless without it. */
  readonly initrdNeeded: boolean;
  /** Stands where the kernel itself does not tell. */
  readonly family?: Family;
  readonly hypervisor?: string;
  readonly version?: string;
  readonly command: readonly string[];
  readonly env: readonly string[];
  /** Why it can't be started although it is taken. */
  readonly why?: string;
}

type Texts = Readonly<Record<string, string>>;

const KRAFT_KERNEL = 'org.unikraft.kernel.image';
const KRAFT_INITRD = 'org.unikraft.kernel.initrd';
const KRAFT_FOLDER = 'unikraft/bin';
const URUNC = 'com.urunc.unikernel.';
export const URUNC_FILE = 'urunc.json';

const URUNC_FAMILIES: ReadonlyMap<string, Family> = new Map([
  ['unikraft', 'unikraft'],
  ['mirage', 'solo5'],
  ['rumprun', 'rumprun'],
  ['mewz', 'mewz'],
  ['linux', 'linux'],
] as const);

const pathOf = (text: string) => text.replace(/^\/+/, '');
const wordsOf = ({ entrypoint = [], cmd = [] }: ImageConfig['config']) => [...entrypoint, ...cmd];

export function declaredByKraft(
  config: ImageConfig,
  annotations: Texts,
  layers: readonly { readonly annotations?: Texts }[],
): Declared | undefined {
  const told = (key: string) =>
    layers.map((layer) => layer.annotations?.[key]).find((text) => text !== undefined);
  const kernel = told(KRAFT_KERNEL);
  if (kernel === undefined && config.os !== 'qemu') return undefined;
  const version = annotations['org.unikraft.kernel.version'];
  return {
    packaging: 'kraft',
    kernel: pathOf(kernel ?? `${KRAFT_FOLDER}/kernel`),
    initrd: pathOf(told(KRAFT_INITRD) ?? `${KRAFT_FOLDER}/initrd`),
    initrdNeeded: told(KRAFT_INITRD) !== undefined,
    family: 'unikraft',
    hypervisor: config.os,
    ...(version === undefined ? {} : { version }),
    command: wordsOf(config.config),
    env: config.config.env ?? [],
  };
}

/** `file`: /urunc.json of the root file system. Errors: image_invalid. */
export function declaredByUrunc(
  config: ImageConfig,
  annotations: Texts,
  file: Buffer | undefined,
): Declared | undefined {
  const inFile = file === undefined ? {} : readUruncFile(file);
  const from = [annotations, config.config.labels ?? {}, inFile].find(
    (texts) => texts[`${URUNC}unikernelType`],
  );
  if (!from) return undefined;
  const told = (key: string) => from[`${URUNC}${key}`] || undefined;
  const type = told('unikernelType')!;
  const [kernel, initrd, version, block, hypervisor] = [
    'binary',
    'initrd',
    'unikernelVersion',
    'block',
    'hypervisor',
  ].map(told);
  if (kernel === undefined)
    throw new SkerryError(
      'image_invalid',
      `the image declares a unikernel (${type.slice(0, 40)}) and no ${URUNC}binary`,
    );
  const family = URUNC_FAMILIES.get(type);
  const words = told('cmdline')?.split(/\s+/).filter(Boolean) ?? wordsOf(config.config);
  return {
    packaging: 'urunc',
    kernel: pathOf(kernel),
    ...(initrd === undefined ? {} : { initrd: pathOf(initrd) }),
    initrdNeeded: initrd !== undefined,
    ...(family === undefined ? {} : { family }),
    ...(hypervisor === undefined ? {} : { hypervisor }),
    ...(version === undefined ? {} : { version }),
    command: words,
    env: config.config.env ?? [],
    ...(block === undefined
      ? {}
      : {
          why: `it wants ${block.slice(0, 80)} of its image as a block device, which Skerry does not make of an image`,
        }),
  };
}

function readUruncFile(file: Buffer): Texts {
  let value: unknown;
  try {
    value = JSON.parse(file.toString('utf8'));
  } catch (cause) {
    throw new SkerryError('image_invalid', `/${URUNC_FILE} is no JSON: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (typeof value !== 'object' || value === null)
    throw new SkerryError('image_invalid', `/${URUNC_FILE} is no JSON object`);
  return Object.fromEntries(
    Object.entries(value)
      .filter(
        (entry): entry is [string, string] => entry[0].startsWith(URUNC) && typeof entry[1] === 'string',
      )
      .map(([key, text]) => [key, Buffer.from(text, 'base64').toString('utf8')]),
  );
}

/** `loader`: where Hermit's loader was seen in the root file system. */
export function declaredByRunh(config: ImageConfig, loader: string | undefined): Declared | undefined {
  const [app, ...command] = wordsOf(config.config);
  if (loader === undefined || app === undefined) return undefined;
  return {
    packaging: 'runh',
    kernel: loader,
    initrd: pathOf(app),
    initrdNeeded: true,
    family: 'hermit',
    command,
    env: config.config.env ?? [],
  };
}
