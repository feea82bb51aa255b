/** How a data folder's containers and images are called in an engine that others use too. Pure. */
import type { Id } from '@skerry/model';
import type { GuestSpec } from '../port.ts';

const LABEL = 'org.skerry';
export const INCARNATION = `${LABEL}.incarnation`;
const OWNER = `${LABEL}.data-folder`;
const UID = `${LABEL}.uid`;

export const containerName = (identityId: string, uid: Id<'instance'>): string =>
  `skerry-${identityId}-${uid}`;

/** The digest is in the name, so that what is loaded is known by looking. `localhost`: no engine adds a registry to it. */
export const imageRepository = (identityId: string): string => `localhost/skerry-${identityId}`;
export const imageName = (identityId: string, digest: string): string =>
  `${imageRepository(identityId)}:${digest.replace(/^sha256:/, '')}`;
export const digestOfImage = (name: string): string => `sha256:${name.slice(name.lastIndexOf(':') + 1)}`;

export const labelsOf = (identityId: string, guest: Pick<GuestSpec, 'uid' | 'incarnation'>) => ({
  [OWNER]: identityId,
  [UID]: guest.uid,
  [INCARNATION]: guest.incarnation,
});
/** A filter of the engine's: what is ours alone. */
export const ownFilter = (identityId: string): string => `${OWNER}=${identityId}`;
export const uidOf = (
  labels: Readonly<Record<string, string>> | null | undefined,
): Id<'instance'> | undefined => labels?.[UID] as Id<'instance'> | undefined;
