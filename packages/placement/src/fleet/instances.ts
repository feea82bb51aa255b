/** What is placed: one row of typed arrays for each instance, rows of a node linked to each other. It does no arithmetic on nodes. */
import { SkerryError } from '@skerry/model';
import { atLeast } from '../growing.ts';

export interface InstanceRow {
  readonly key: string;
  readonly node: number;
  readonly cpuMilli: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly addresses: number;
  readonly priority: number;
  readonly ports: readonly string[];
  /** Numbers of groups. */
  readonly groups: readonly number[];
  readonly repelsAtSite: readonly number[];
  readonly repelsAtNode: readonly number[];
}

export interface Instances {
  readonly size: number;
  add(row: InstanceRow): void;
  take(key: string): InstanceRow | undefined;
  get(key: string): InstanceRow | undefined;
  /** Those of a node, in no order. */
  of(node: number): InstanceRow[];
}

/** Everything that many instances have in common, kept once. */
interface Shape {
  readonly ports: readonly string[];
  readonly groups: readonly number[];
  readonly repelsAtSite: readonly number[];
  readonly repelsAtNode: readonly number[];
}

export function createInstances(): Instances {
  const rows = new Map<string, number>();
  const keys: (string | undefined)[] = [];
  const shapes: (Shape | undefined)[] = [];
  const free: number[] = [];
  let heads = new Int32Array(0);
  let node = new Int32Array(0);
  let next = new Int32Array(0);
  let before = new Int32Array(0);
  let priority = new Int32Array(0);
  let numbers = new Float64Array(0);
  /** The shape of the row added last: replicas come one after the other. */
  let lastShape: Shape | undefined;
  const same = (a: readonly unknown[], b: readonly unknown[]) =>
    a === b || (a.length === b.length && a.every((value, at) => value === b[at]));

  const read = (row: number): InstanceRow => ({
    key: keys[row]!,
    node: node[row]!,
    cpuMilli: numbers[4 * row]!,
    memoryBytes: numbers[4 * row + 1]!,
    diskBytes: numbers[4 * row + 2]!,
    addresses: numbers[4 * row + 3]!,
    priority: priority[row]!,
    ...shapes[row]!,
  });

  return {
    get size() {
      return rows.size;
    },
    get(key) {
      const row = rows.get(key);
      return row === undefined ? undefined : read(row);
    },
    add(instance) {
      if (rows.has(instance.key))
        throw new SkerryError('internal', `the instance ${instance.key} is placed already`);
      const row = free.pop() ?? keys.length;
      node = atLeast(node, row + 1);
      next = atLeast(next, row + 1);
      before = atLeast(before, row + 1);
      priority = atLeast(priority, row + 1);
      numbers = atLeast(numbers, 4 * (row + 1));
      heads = atLeast(heads, instance.node + 1, -1);
      rows.set(instance.key, row);
      keys[row] = instance.key;
      const { ports, groups, repelsAtSite, repelsAtNode } = instance;
      if (
        !lastShape ||
        !same(lastShape.ports, ports) ||
        !same(lastShape.groups, groups) ||
        !same(lastShape.repelsAtSite, repelsAtSite) ||
        !same(lastShape.repelsAtNode, repelsAtNode)
      )
        lastShape = { ports, groups, repelsAtSite, repelsAtNode };
      shapes[row] = lastShape;
      node[row] = instance.node;
      priority[row] = instance.priority;
      numbers[4 * row] = instance.cpuMilli;
      numbers[4 * row + 1] = instance.memoryBytes;
      numbers[4 * row + 2] = instance.diskBytes;
      numbers[4 * row + 3] = instance.addresses;
      const head = heads[instance.node]!;
      next[row] = head;
      before[row] = -1;
      if (head >= 0) before[head] = row;
      heads[instance.node] = row;
    },
    take(key) {
      const row = rows.get(key);
      if (row === undefined) return undefined;
      const taken = read(row);
      if (before[row]! >= 0) next[before[row]!] = next[row]!;
      else heads[taken.node] = next[row]!;
      if (next[row]! >= 0) before[next[row]!] = before[row]!;
      rows.delete(key);
      keys[row] = undefined;
      shapes[row] = undefined;
      free.push(row);
      return taken;
    },
    of(number) {
      const found: InstanceRow[] = [];
      if (number < heads.length)
        for (let row = heads[number]!; row >= 0; row = next[row]!) found.push(read(row));
      return found;
    },
  };
}
