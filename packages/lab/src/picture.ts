/**
 * A lab in characters: a tree from the controller's site along the shortest ways, with what stands at each place; wires that are
 * not on the tree are named at both ends. Pure.
 */
import { formatBytes } from '@skerry/model';
import type { LabPlan, Wire } from './plan.ts';
import { shortestWays } from './routes.ts';

export interface MachineView {
  readonly name: string;
  /** `off`, `ready`, `lost`, or what else is known. */
  readonly phase: string;
  readonly memoryBytes?: number;
  /** `hello-0 running`, as the controller knows it. */
  readonly instances: readonly string[];
}

export interface LabView {
  readonly name: string;
  readonly id: string;
  readonly plan: LabPlan;
  /** As they are now. */
  readonly wires: readonly Wire[];
  /** Cut wires: from which end packets are dropped, or `both`. */
  readonly cuts: ReadonlyMap<string, string>;
  readonly attached: ReadonlyMap<string, string>;
  readonly machines: ReadonlyMap<string, MachineView>;
}

const rate = (bps: number): string => {
  for (const [unit, size] of [
    ['Gbit', 1e9],
    ['Mbit', 1e6],
    ['kbit', 1e3],
  ] as const)
    if (bps >= size) return `${Number((bps / size).toFixed(1))}${unit}`;
  return `${bps}bit`;
};

/** `12ms 100Mbit 1% lost` */
export function wireWords(wire: Wire): string {
  return [
    `${Number(wire.latencyMs.toFixed(2))}ms`,
    ...(wire.bandwidthBps > 0 ? [rate(wire.bandwidthBps)] : []),
    ...(wire.loss > 0 ? [`${Number((wire.loss * 100).toFixed(2))}% lost`] : []),
  ].join(' ');
}

function stroke(view: LabView, wire: Wire): string {
  const cut = view.cuts.get(wire.name);
  if (cut === undefined) return `── ${wireWords(wire)} ──`;
  return cut === 'both' ? '──╳ cut ╳──' : `── nothing from ${cut} ──`;
}

function machineLine(machine: MachineView): string {
  const memory = machine.memoryBytes === undefined ? '' : `, ${formatBytes(machine.memoryBytes)}`;
  const guests = machine.instances.length === 0 ? '' : `: ${machine.instances.join(', ')}`;
  return `■ ${machine.name} (${machine.phase}${memory})${guests}`;
}

/** Lines without a last line break. */
export function drawLab(view: LabView): string {
  const { plan } = view;
  const drawn = new Set<string>();
  const used = new Set<string>();
  const lines: string[] = [];
  const wires = view.wires;
  const other = (wire: Wire, name: string) => (wire.between[0] === name ? wire.between[1] : wire.between[0]);

  const draw = (name: string, head: string, indent: string): void => {
    drawn.add(name);
    const router = plan.routers.find((one) => one.name === name)!;
    lines.push(`${head}${name} (${router.type})`);
    // children are those whose shortest way from the root leads over this wire
    const next = wires.filter(
      (wire) => wire.between.includes(name) && tree.has(wire.name) && !used.has(wire.name),
    );
    const rest = wires.filter((wire) => wire.between.includes(name) && !tree.has(wire.name));
    for (const wire of next) used.add(wire.name);
    const inner = `${indent}${next.length > 0 ? '│  ' : '   '}`;
    const clients = [...view.attached].filter(([, at]) => at === name).map(([client]) => client);
    if (clients.length > 0) lines.push(`${inner}○ ${clients.join(', ')}`);
    for (const { name: machine } of plan.machines.filter(({ site }) => site === name)) {
      const known = view.machines.get(machine);
      lines.push(`${inner}${machineLine(known ?? { name: machine, phase: 'unknown', instances: [] })}`);
    }
    for (const wire of rest) lines.push(`${inner}${stroke(view, wire)} ${other(wire, name)} [${wire.name}]`);
    for (const [index, wire] of next.entries()) {
      const last = index === next.length - 1;
      const label = `${stroke(view, wire)} [${wire.name}] `;
      draw(other(wire, name), `${indent}${last ? '└' : '├'}${label}`, `${indent}${last ? '   ' : '│  '}`);
    }
  };

  const tree = new Set<string>();
  const roots = [
    plan.machines.find(({ role }) => role === 'controller')?.site,
    ...plan.routers.map(({ name }) => name),
  ];
  const reached = new Set<string>();
  const wanted: string[] = [];
  for (const root of roots) {
    if (root === undefined || reached.has(root)) continue;
    wanted.push(root);
    for (const wire of treeFrom(view, root)) tree.add(wire);
    // cut wires are drawn too: what is behind them is where it was
    for (const name of shortestWays({ ...plan, wires }, new Set(), root).keys()) reached.add(name);
  }
  for (const root of wanted) if (!drawn.has(root)) draw(root, '', '');
  const away = plan.clients.filter(({ name }) => !view.attached.has(name)).map(({ name }) => name);
  if (away.length > 0) lines.push(`away: ${away.join(', ')}`);
  return lines.join('\n');
}

/** Wires of a tree of shortest ways from the root, as if none were cut: a cut does not redraw the picture. */
const treeFrom = ({ plan, wires }: LabView, root: string): string[] =>
  [...shortestWays({ ...plan, wires }, new Set(), root).values()].flatMap(({ last }) => last?.name ?? []);
