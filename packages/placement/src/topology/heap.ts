/**
 * A binary heap of (key, number) pairs over typed arrays; the least key first, of equal keys the least number, so that
 * what is taken out does not depend on the order of putting in.
 */
import { atLeast } from '../growing.ts';

export interface Heap {
  readonly size: number;
  /** Of the first pair; NaN when it is empty. */
  readonly key: number;
  push(key: number, value: number): void;
  /** Takes the first pair out and returns its number; -1 when it is empty. */
  pop(): number;
  clear(): void;
}

export function createHeap(): Heap {
  let keys = new Float64Array(64);
  let values = new Int32Array(64);
  let size = 0;

  return {
    get size() {
      return size;
    },
    get key() {
      return size > 0 ? keys[0]! : Number.NaN;
    },
    clear() {
      size = 0;
    },
    push(key, value) {
      if (size === keys.length) {
        keys = atLeast(keys, size + 1);
        values = atLeast(values, size + 1);
      }
      let at = size++;
      while (at > 0) {
        const up = (at - 1) >> 1;
        const upKey = keys[up]!;
        if (upKey < key || (upKey === key && values[up]! <= value)) break;
        keys[at] = upKey;
        values[at] = values[up]!;
        at = up;
      }
      keys[at] = key;
      values[at] = value;
    },
    pop() {
      if (size === 0) return -1;
      const first = values[0]!;
      size--;
      const key = keys[size]!;
      const value = values[size]!;
      let at = 0;
      for (;;) {
        let down = 2 * at + 1;
        if (down >= size) break;
        const right = down + 1;
        if (
          right < size &&
          (keys[right]! < keys[down]! || (keys[right] === keys[down] && values[right]! < values[down]!))
        )
          down = right;
        const downKey = keys[down]!;
        if (key < downKey || (key === downKey && value <= values[down]!)) break;
        keys[at] = downKey;
        values[at] = values[down]!;
        at = down;
      }
      keys[at] = key;
      values[at] = value;
      return first;
    },
  };
}
