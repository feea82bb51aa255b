/**
 * The images that a guest needs beside the one that it is made from (a virtual machine's CD, its kernel, its first file
 * system): their digests stand in the workload's status and in the instance's spec. One list for all who pass them on. Pure.
 */
const FURTHER = ['cdromDigest', 'kernelDigest', 'initrdDigest'] as const;

type Digests<T> = { readonly [field in (typeof FURTHER)[number]]?: T };
export type FurtherDigests = Digests<string>;

/** Those that are there. */
export function furtherDigests(of: Digests<string | undefined>): FurtherDigests {
  return Object.fromEntries(
    FURTHER.flatMap((field) => (of[field] === undefined ? [] : [[field, of[field]]])),
  );
}

export const sameFurther = (one: Digests<string | undefined>, other: Digests<string | undefined>): boolean =>
  FURTHER.every((field) => one[field] === other[field]);

/** A spec that others take the place of; what is not there must not stay. */
export function withoutFurther<T extends Digests<string | undefined>>(
  spec: T,
): Omit<T, keyof FurtherDigests> {
  const { cdromDigest, kernelDigest, initrdDigest, ...rest } = spec;
  return rest;
}

/** All images that an instance needs; the last is the one that it is made from. */
export const imagesNeeded = (
  spec: Digests<string | undefined> & { readonly imageDigest: string },
): string[] => [...Object.values(furtherDigests(spec)), spec.imageDigest];
