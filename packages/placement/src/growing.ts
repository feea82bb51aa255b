/** Typed arrays that grow by doubling: the same array, or a longer copy of it. */

type Numbers = Int32Array | Float64Array | Uint8Array;

/** `array` if it has at least `length` elements, else a copy of at least twice its size; new elements are `fill`. */
export function atLeast<A extends Numbers>(array: A, length: number, fill = 0): A {
  if (array.length >= length) return array;
  const longer = new (array.constructor as new (length: number) => A)(Math.max(length, array.length * 2, 16));
  longer.set(array);
  if (fill !== 0) longer.fill(fill, array.length);
  return longer;
}
