/** The numbers of all nodes, one typed array for each, indexed by the node's number. Others read them; only the fleet writes. */
import { RUNTIME_KINDS } from '@skerry/model';
import { atLeast } from '../growing.ts';

export const KINDS = RUNTIME_KINDS.length;
/** Processors are counted in thousandths, so that taking and giving ends at zero. */
export const MILLI = 1000;

export interface Columns {
  /** Number of the site. */
  site: Int32Array;
  /** 1 for a node that is there, 0 for one that was removed. */
  present: Uint8Array;
  ready: Uint8Array;
  schedulable: Uint8Array;
  cpuMilli: Float64Array;
  cpuFreeMilli: Float64Array;
  memoryBytes: Float64Array;
  memoryFreeBytes: Float64Array;
  diskBytes: Float64Array;
  diskFreeBytes: Float64Array;
  addressesFree: Float64Array;
  instances: Int32Array;
  /** By node times `KINDS` plus kind: the overhead in bytes; NaN where the node can not run it. */
  overheadBytes: Float64Array;
  accelerated: Uint8Array;
  tainted: Uint8Array;
}

export function createColumns(): Columns {
  return {
    site: new Int32Array(0),
    present: new Uint8Array(0),
    ready: new Uint8Array(0),
    schedulable: new Uint8Array(0),
    cpuMilli: new Float64Array(0),
    cpuFreeMilli: new Float64Array(0),
    memoryBytes: new Float64Array(0),
    memoryFreeBytes: new Float64Array(0),
    diskBytes: new Float64Array(0),
    diskFreeBytes: new Float64Array(0),
    addressesFree: new Float64Array(0),
    instances: new Int32Array(0),
    overheadBytes: new Float64Array(0),
    accelerated: new Uint8Array(0),
    tainted: new Uint8Array(0),
  };
}

export function growColumns(columns: Columns, nodes: number): void {
  columns.site = atLeast(columns.site, nodes, -1);
  columns.present = atLeast(columns.present, nodes);
  columns.ready = atLeast(columns.ready, nodes);
  columns.schedulable = atLeast(columns.schedulable, nodes);
  columns.cpuMilli = atLeast(columns.cpuMilli, nodes);
  columns.cpuFreeMilli = atLeast(columns.cpuFreeMilli, nodes);
  columns.memoryBytes = atLeast(columns.memoryBytes, nodes);
  columns.memoryFreeBytes = atLeast(columns.memoryFreeBytes, nodes);
  columns.diskBytes = atLeast(columns.diskBytes, nodes);
  columns.diskFreeBytes = atLeast(columns.diskFreeBytes, nodes);
  columns.addressesFree = atLeast(columns.addressesFree, nodes);
  columns.instances = atLeast(columns.instances, nodes);
  columns.overheadBytes = atLeast(columns.overheadBytes, nodes * KINDS, Number.NaN);
  columns.accelerated = atLeast(columns.accelerated, nodes * KINDS);
  columns.tainted = atLeast(columns.tainted, nodes);
}
