/** The order of keys: that of their UTF-8 bytes, as in etcd and SQLite. JavaScript's own is that of UTF-16 units. */

/** In UTF-16 the surrogates, which stand for the highest code points, lie below U+E000 to U+FFFF: put them above. */
const rank = (unit: number) => (unit >= 0xd800 && unit <= 0xdfff ? unit + 0x2800 : unit);

export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x !== y) return rank(x) - rank(y);
  }
  return a.length - b.length;
}
