/**
 * The host ids of a guest's user namespace: a range of its own, so that what one guest's root may do says nothing of another's
 * files. The place is drawn from the guest's id and is the same each time, unless another guest has it.
 */
import { createHash } from 'node:crypto';
import { MAPPED_IDS } from '@skerry/images';

/** Above what administrators give to users (login.defs(5), SUB_UID_MAX 600100000), below 2^31 (some programs are signed). */
const FIRST = 0x2800_0000;
const RANGES = 20_000;

/** First host id. `taken`: those of the other guests of this data folder. */
export function idRange(dataFolderId: string, uid: string, taken: ReadonlySet<number>): number {
  const draw = createHash('sha256').update(`${dataFolderId}/${uid}`).digest().readUInt32LE(0);
  for (let at = 0; at < RANGES; at++) {
    const first = FIRST + ((draw + at) % RANGES) * MAPPED_IDS;
    if (!taken.has(first)) return first;
  }
  throw new RangeError('every range of ids is taken'); // RANGES guests on one node
}
