/** Names of images: `hello` is `hello:latest`; a digest names content. */
import { type Image, type RuntimeKind, SkerryError } from '@skerry/model';
import type { Draft } from '../state/draft.ts';
import { keyOf } from '../state/keys.ts';

const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** With a tag, as it is stored. Errors: request_invalid. */
export function normalReference(reference: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9._:/@-]*$/.test(reference)) {
    throw new SkerryError('request_invalid', `"${reference}" is no name of an image: write it like hello:1`, {
      details: { field: 'reference' },
    });
  }
  const last = reference.slice(reference.lastIndexOf('/') + 1);
  return last.includes(':') || last.includes('@') || DIGEST.test(reference)
    ? reference
    : `${reference}:latest`;
}

/** The content that `sha256:…` or `hello@sha256:…` names; undefined for a name with a tag. */
export function digestIn(name: string): string | undefined {
  const wanted = name.slice(name.indexOf('@') + 1);
  return DIGEST.test(wanted) ? wanted : undefined;
}

const FITTING: Readonly<Record<RuntimeKind, readonly string[]>> = {
  container: ['container'],
  unikernel: ['unikernel', 'function'],
  vm: ['disk', 'iso'],
  system: ['rootfs'],
  sim: ['container', 'unikernel', 'function'],
};

/** What guests of the sim runtime start from, where the name stands for nothing. */
export const NO_IMAGE = 'sim:none';

/** Where an image is named, and the kinds that fit there; all where there are none. */
export interface Place {
  readonly field: string;
  readonly kinds: readonly string[];
  /** What is wrong with one of such a kind; undefined: nothing. */
  readonly flaw?: (status: Image['status']) => string | undefined;
}
export const CDROM: Place = { field: 'spec.vm.cdrom', kinds: ['iso'] };
/** `diskArch`: what the disk was made for, where it tells. */
export const kernelFor = (diskArch: string | undefined): Place => ({
  field: 'spec.vm.boot.kernel',
  kinds: ['unikernel'],
  flaw: ({ facts, arch }) => {
    if (facts.family !== 'linux' || facts.runnable === false) return 'no Linux kernel that QEMU can load';
    const isOther = arch !== undefined && diskArch !== undefined && arch !== diskArch;
    return isOther ? `a kernel for ${arch}, and the disk is for ${diskArch}` : undefined;
  },
});
export const INITRD: Place = { field: 'spec.vm.boot.initrd', kinds: ['initramfs'] };

/** The digest that a name stands for now. Errors: image_not_found, image_wrong_kind, both with details {field}. */
export function resolveImage(
  draft: Draft,
  project: string,
  name: string,
  runtime: RuntimeKind,
  digests: () => Iterable<Image>,
  place: Place = { field: 'spec.image', kinds: FITTING[runtime] },
): string {
  const { field, kinds: fitting, flaw } = place;
  const reference = normalReference(name);
  let image = draft.get('images', project, reference);
  if (!image) {
    const wanted = digestIn(name);
    if (wanted !== undefined) for (const one of digests()) if (one.status.digest === wanted) image = one;
  }
  if (!image) {
    if (runtime === 'sim') return NO_IMAGE;
    const registry = /^[^/]+[.:][^/]*\//.test(reference);
    const hint = registry ? `; fetch it first: skerry image pull ${reference}` : '';
    throw new SkerryError(
      'image_not_found',
      `${field}: there is no image "${reference}" in the project ${project}${hint}`,
      {
        details: { field, reference, project },
      },
    );
  }
  if (fitting.length > 0 && !fitting.includes(image.status.kind)) {
    throw new SkerryError(
      'image_wrong_kind',
      `${field}: "${reference}" is a ${image.status.kind} image, and the runtime ${runtime} needs ${fitting.join(' or ')}`,
      { details: { field, reference, kind: image.status.kind } },
    );
  }
  const wrong = flaw?.(image.status);
  if (wrong !== undefined) {
    throw new SkerryError('image_wrong_kind', `${field}: "${reference}" is ${wrong}`, {
      details: { field, reference, kind: image.status.kind },
    });
  }
  draft.need(keyOf('images', project, image.spec.reference));
  return image.status.digest;
}
