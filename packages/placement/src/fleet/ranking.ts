/**
 * Members numbered from 0 with a key each, visited from the greatest key down without sorting: a tournament tree over a
 * typed array. Setting a key takes logarithmic time; a visit costs by what it looks at, not by how many members there are.
 */
import { createHeap, type Heap } from '../topology/heap.ts';

export interface Ranking {
  /** The greatest key; -Infinity when no member has one. */
  readonly greatest: number;
  set(member: number, key: number): void;
  /** Visits members whose key is at least `from`, the greatest first, of equal keys the least number; ends when `visit` says true. */
  descend(from: number, visit: (member: number) => boolean): void;
}

/** Heaps that are not in use: visits nest, and each has one of its own while it lasts. */
const heaps: Heap[] = [];
/** Enough for 2^26 members. */
const DEPTH_BITS = 5;
const DEPTH_MASK = (1 << DEPTH_BITS) - 1;
const depthOf = (node: number): number => 31 - Math.clz32(node);

export function createRanking(): Ranking {
  /** Leaves from `leaves` on; node n has the children 2n and 2n+1. */
  let leaves = 1;
  let tree = new Float64Array(2).fill(Number.NEGATIVE_INFINITY);

  const grow = (members: number) => {
    const keys = tree.subarray(leaves, 2 * leaves);
    while (leaves < members) leaves *= 2;
    const next = new Float64Array(2 * leaves).fill(Number.NEGATIVE_INFINITY);
    next.set(keys, leaves);
    for (let at = leaves - 1; at > 0; at--) next[at] = Math.max(next[2 * at]!, next[2 * at + 1]!);
    tree = next;
  };

  /** By key; of equal keys the node whose leaves come first. Which node it is follows from its first leaf and its depth. */
  const push = (heap: Heap, node: number, from: number) => {
    const key = tree[node]!;
    if (!(key >= from) || key === Number.NEGATIVE_INFINITY) return;
    const depth = depthOf(node);
    const firstLeaf = (node << (depthOf(leaves) - depth)) - leaves;
    heap.push(-key, (firstLeaf << DEPTH_BITS) | depth);
  };

  return {
    get greatest() {
      return tree[1]!;
    },
    set(member, key) {
      if (member >= leaves) grow(member + 1);
      let at = leaves + member;
      tree[at] = key;
      for (at >>= 1; at > 0; at >>= 1) {
        const best = Math.max(tree[2 * at]!, tree[2 * at + 1]!);
        if (tree[at] === best) break;
        tree[at] = best;
      }
    },
    descend(from, visit) {
      if (!(tree[1]! >= from) || tree[1] === Number.NEGATIVE_INFINITY) return;
      const heap = heaps.pop() ?? createHeap();
      heap.clear();
      try {
        push(heap, 1, from);
        while (heap.size > 0) {
          const code = heap.pop();
          let node = (leaves + (code >> DEPTH_BITS)) >> (depthOf(leaves) - (code & DEPTH_MASK));
          // Down to the leaf that has the key; what is passed by waits in the heap.
          while (node < leaves) {
            const left = 2 * node;
            const goLeft = tree[left]! >= tree[left + 1]!;
            push(heap, goLeft ? left + 1 : left, from);
            node = goLeft ? left : left + 1;
          }
          if (visit(node - leaves)) return;
        }
      } finally {
        heaps.push(heap);
      }
    },
  };
}
