/**
 * Folders of guests that no runtime knows any more: the program was killed while one was being made, before its record was
 * written, or while it was being removed, after its record was gone. Called before any runtime is started: nothing is in the
 * making then.
 */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Identity, mountsBelow, unmountBelow } from '@skerry/host';

/** What each runtime writes of a guest first, or finds it by. */
const RECORDS = ['container.json', 'docker.json', 'system.json', 'unikernel.json', 'vm.json'];

/** Returns the names of the folders that were removed. */
export async function removeUnrecorded(identity: Identity, signal: AbortSignal): Promise<string[]> {
  const guests = join(identity.dataDir, 'guests');
  const unrecorded = existsSync(guests)
    ? readdirSync(guests).filter((uid) => !RECORDS.some((name) => existsSync(join(guests, uid, name))))
    : [];
  for (const uid of unrecorded) {
    const folder = join(guests, uid);
    if (mountsBelow(folder).length > 0) await unmountBelow(folder, signal);
    rmSync(folder, { recursive: true, force: true });
  }
  return unrecorded;
}
