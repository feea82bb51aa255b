/** Counts for pairs of numbers (a group and a place), 12 bytes each: open addressing, half full at the most. A pair that is not there counts 0. */

export interface CountTable {
  get(group: number, place: number): number;
  /** Returns the new count. */
  add(group: number, place: number, by: number): number;
}

/** Mixes two numbers into 32 bits; the constants are odd and spread low bits upwards (multiplicative hashing, Knuth 6.4). */
const mix = (group: number, place: number): number => {
  const h = Math.imul(group, 0x9e3779b1) ^ Math.imul(place + 0x7f4a7c15, 0x85ebca6b);
  return (h ^ (h >>> 15)) >>> 0;
};

export function createCountTable(): CountTable {
  let groups = new Int32Array(64).fill(-1);
  let places = new Int32Array(64);
  let counts = new Int32Array(64);
  let used = 0;

  const slotOf = (group: number, place: number): number => {
    const mask = groups.length - 1;
    let slot = mix(group, place) & mask;
    while (groups[slot] !== -1 && (groups[slot] !== group || places[slot] !== place))
      slot = (slot + 1) & mask;
    return slot;
  };
  /** Pairs that count 0 are left out. */
  const rebuild = () => {
    let live = 0;
    for (const count of counts) if (count !== 0) live++;
    const [oldGroups, oldPlaces, oldCounts] = [groups, places, counts];
    let length = 64;
    while (length < 4 * live) length *= 2;
    groups = new Int32Array(length).fill(-1);
    places = new Int32Array(length);
    counts = new Int32Array(length);
    used = live;
    for (let at = 0; at < oldGroups.length; at++) {
      if (oldCounts[at] === 0) continue;
      const slot = slotOf(oldGroups[at]!, oldPlaces[at]!);
      groups[slot] = oldGroups[at]!;
      places[slot] = oldPlaces[at]!;
      counts[slot] = oldCounts[at]!;
    }
  };

  return {
    get(group, place) {
      const slot = slotOf(group, place);
      return groups[slot] === -1 ? 0 : counts[slot]!;
    },
    add(group, place, by) {
      let slot = slotOf(group, place);
      if (groups[slot] === -1) {
        if (2 * (used + 1) > groups.length) {
          rebuild();
          slot = slotOf(group, place);
        }
        groups[slot] = group;
        places[slot] = place;
        used++;
      }
      counts[slot] = counts[slot]! + by;
      return counts[slot]!;
    },
  };
}
