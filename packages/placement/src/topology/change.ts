/**
 * What the change of one link means for what is known already: whether a search still holds, and whether the path to a
 * vertex may be another one now. Exact within the settled part, careful beyond it. Changes nothing itself.
 */
import { positionOf, type Search } from './search.ts';

export interface LinkChange {
  readonly link: number;
  readonly a: number;
  readonly b: number;
  /** Infinity: it was down, or not there. */
  readonly beforeMs: number;
  readonly afterMs: number;
}

const distanceOf = (search: Search, position: number) =>
  position < 0 ? search.frontierMs : search.distancesMs[position]!;

/** Whether a distance of the settled part, or the bound of its frontier, is no longer true. */
export function searchIsHurt(search: Search, change: LinkChange): boolean {
  if (search.settled === 0 || change.afterMs === change.beforeMs) return false;
  const a = positionOf(search, change.a);
  const b = positionOf(search, change.b);
  if (a < 0 && b < 0) return false;
  if (change.afterMs > change.beforeMs)
    return (a >= 0 && search.via[a]! >> 1 === change.link) || (b >= 0 && search.via[b]! >> 1 === change.link);
  const da = distanceOf(search, a);
  const db = distanceOf(search, b);
  return Math.min(da, db) + change.afterMs < Math.max(da, db);
}

/** Whether the shortest path to `vertex` may have changed: never a wrong no; a yes for what was not settled. */
export function pathMayDiffer(
  search: Search,
  vertex: number,
  change: LinkChange,
  toOf: (half: number) => number,
): boolean {
  let at = positionOf(search, vertex);
  if (at < 0) return true;
  if (change.afterMs < change.beforeMs) {
    const da = distanceOf(search, positionOf(search, change.a));
    const db = distanceOf(search, positionOf(search, change.b));
    return Math.min(da, db) + change.afterMs < search.distancesMs[at]!;
  }
  while (at > 0) {
    const half = search.via[at]!;
    if (half >> 1 === change.link) return true;
    at = positionOf(search, toOf(half ^ 1));
  }
  return false;
}
