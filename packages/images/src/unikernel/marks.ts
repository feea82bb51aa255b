/**
 * Families that leave no note: their own words stand somewhere in the file. Looked for only where nothing better is known,
 * in a bounded part of it; a wrong guess changes how the guest is told its address, no more.
 */
import type { ByteSource } from './byte-source.ts';
import type { Family } from './kernel-facts.ts';

const MARKS: readonly (readonly [Family, Buffer])[] = [
  ['rumprun', Buffer.from('rump kernel bare metal')],
  ['includeos', Buffer.from('IncludeOS')],
  ['mewz', Buffer.from('mewz')],
  ['nanos', Buffer.from('NVMTFS')],
];
const LOOK_BYTES = 32 * 1024 * 1024;
const PIECE_BYTES = 1024 * 1024;
const OVERLAP_BYTES = 64;

export function familyByMarks(source: ByteSource): Family {
  for (let at = 0; at < Math.min(source.size, LOOK_BYTES); at += PIECE_BYTES) {
    const piece = source.read(at, PIECE_BYTES + OVERLAP_BYTES);
    const found = MARKS.find(([, mark]) => piece.includes(mark));
    if (found) return found[0];
  }
  return 'generic';
}
