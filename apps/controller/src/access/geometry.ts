/** Distances on the Earth and what they cost in time. Pure. */
import type { Location } from '@skerry/model';

/** Mean radius (IUGG). */
const EARTH_KM = 6371.0088;
/** Light in fibre: the vacuum's 3.336 us/km times a group index of 1.468 (ITU-T G.652). */
const FIBRE_US_PER_KM = 4.9;
/** Cables follow roads. */
const DETOUR = 1.5;
/** Of the equipment at both ends, where nothing is known of it. */
const EQUIPMENT_US = 100;

const radians = (degrees: number) => (degrees * Math.PI) / 180;

/** Along a great circle (haversine). */
export function distanceKm(a: Location, b: Location): number {
  const sin2 = (angle: number) => Math.sin(angle / 2) ** 2;
  const h =
    sin2(radians(b.lat - a.lat)) +
    Math.cos(radians(a.lat)) * Math.cos(radians(b.lat)) * sin2(radians(b.lon - a.lon));
  return 2 * EARTH_KM * Math.asin(Math.min(1, Math.sqrt(h)));
}

/** One way, over a cable of the usual length for this distance; a guess that a measurement replaces. */
export const cableLatencyUs = (km: number): number =>
  Math.round(km * DETOUR * FIBRE_US_PER_KM + EQUIPMENT_US);
