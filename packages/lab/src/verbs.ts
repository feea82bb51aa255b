/**
 * What is done to a lab that is up: a client moves, a wire is cut, healed or changed, a machine loses its power or gets it back,
 * all of it goes. The state is written first; then the host is made to fit it.
 */
import { rmdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { cutPower, endEmulatedLinks, listNetns, netnsPath } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import { withController } from './emulate/controller.ts';
import { forgetCgroups, powerOff, powerUp, startProgramOn, wordsInside } from './emulate/machines.ts';
import {
  applyCuts,
  applyRoutes,
  changeWire,
  clientDevices,
  drawLine,
  ensureNamespaces,
  readRoutes,
  sendBy,
} from './emulate/network.ts';
import { type Bench, ip, type LabPrograms } from './emulate/tools.ts';
import { CONTROLLER } from './lab-file.ts';
import { type Machine, named, netnsPrefix } from './plan.ts';
import { alone, type LabFolder, type LabState, readLab, type WireChange, writeLab } from './state.ts';

export interface VerbOptions {
  readonly folder: LabFolder;
  readonly programs: LabPrograms;
  readonly signal: AbortSignal;
}

/** Errors: not_running where the lab is only half made. */
export function requireLab(folder: LabFolder): LabState {
  const state = readLab(folder);
  if (!state)
    throw new SkerryError('not_running', `the lab at ${folder.path} was never finished: up again, or down`);
  return state;
}

/** Alone among the verbs; what `next` returns is the state from now on, written before it is applied. */
async function change(
  { folder, programs, signal }: VerbOptions,
  next: (state: LabState) => LabState,
  apply: (bench: Bench, before: LabState) => Promise<void>,
): Promise<void> {
  await alone(folder, async () => {
    const before = requireLab(folder);
    const { unfinished: _, ...state } = next(before);
    writeLab(folder, { ...state, unfinished: true });
    await apply({ folder, state, programs, signal }, before);
    writeLab(folder, state);
  });
}

export interface Moved {
  /** From the first packet that may take the new way to the last router that knows of it. */
  readonly switchedMs: number;
  /** Undefined: the controller did not answer, and learns of it by itself or by `skerry client move`. */
  readonly controllerTold: boolean;
}

/**
 * A handover. The new line is drawn beside the old one, then all routers and the client turn to it, then the old one goes: the
 * client keeps its address and its connections. Errors: not_found.
 */
export async function moveClient(options: VerbOptions, name: string, accessPoint: string): Promise<Moved> {
  let switchedMs = 0;
  const tell = () =>
    withController(options.folder, (client) =>
      client.client.patch({ name, body: { spec: { attachedTo: accessPoint } } }),
    ).then(
      () => true,
      () => false,
    );
  let told: Promise<boolean> | undefined;
  await change(
    options,
    (state) => {
      const { plan } = state;
      named('client', plan.clients, name);
      named(
        'access point',
        plan.routers.filter(({ type }) => type !== 'site'),
        accessPoint,
      );
      return { ...state, attached: { ...state.attached, [name]: accessPoint } };
    },
    async (bench, before) => {
      if (before.attached[name] === accessPoint) return;
      const client = named('client', bench.state.plan.clients, name);
      const found = await clientDevices(bench, client);
      const interrupted = found.length > 1 ? found : []; // a handover that was never finished
      await ip(
        interrupted.map((device) => `link del dev ${device}`),
        bench.signal,
        client.netns,
      );
      const old = found.filter((device) => !interrupted.includes(device));
      const fresh = old.includes('eth0') ? 'eth1' : 'eth0';
      const [have] = await Promise.all([
        readRoutes(bench, before),
        drawLine(bench, client, accessPoint, fresh),
      ]);
      const begun = performance.now();
      told = tell(); // the new line stands: as an access network does, it says so while it switches
      await Promise.all([applyRoutes(bench, have, [accessPoint]), sendBy(bench, client, accessPoint, fresh)]);
      switchedMs = performance.now() - begun;
      await ip(
        old.map((device) => `link del dev ${device}`),
        bench.signal,
        client.netns,
      );
    },
  );
  return { switchedMs, controllerTold: await (told ?? tell()) };
}

const wireOf = (state: LabState, name: string) => named('link', state.plan.wires, name);

/** `from`: only what comes from this end is dropped, and nobody routes around it: a half-open partition. Errors: not_found. */
export function cutLink(options: VerbOptions, name: string, from?: string): Promise<void> {
  return change(
    options,
    (state) => {
      const { between } = wireOf(state, name);
      if (from !== undefined && !between.includes(from))
        throw new SkerryError(
          'not_found',
          `the link ${name} is between ${between.join(' and ')}, and not at ${from}`,
        );
      return { ...state, cuts: { ...state.cuts, [name]: from === undefined ? {} : { from } } };
    },
    (bench) => turn(bench, name),
  );
}

export function healLink(options: VerbOptions, name: string): Promise<void> {
  return change(
    options,
    (state) => {
      wireOf(state, name);
      const { [name]: _, ...cuts } = state.cuts;
      return { ...state, cuts };
    },
    (bench) => turn(bench, name),
  );
}

/** Packets stop or go at once; then the routers turn to other ways. */
async function turn(bench: Bench, name: string): Promise<void> {
  const [have] = await Promise.all([readRoutes(bench), applyCuts(bench, wireOf(bench.state, name).between)]);
  await applyRoutes(bench, have);
}

/** Another delay, bandwidth or loss, while packets go. Routes by latency follow. */
export function changeLink(options: VerbOptions, name: string, wish: WireChange): Promise<void> {
  return change(
    options,
    (state) => {
      wireOf(state, name);
      return { ...state, changes: { ...state.changes, [name]: { ...state.changes[name], ...wish } } };
    },
    async (bench) => {
      changeWire(bench, wireOf(bench.state, name));
      await applyRoutes(bench, await readRoutes(bench));
    },
  );
}

const machineOf = (state: LabState, name: string): Machine =>
  named(
    'node',
    [...state.plan.machines].sort((a) => (a.name === CONTROLLER ? 1 : -1)),
    name,
  );

/** A power cut: everything of the node ends at once. `controller` is one of the machines. Errors: not_found. */
export function crashNode(options: VerbOptions, name: string): Promise<void> {
  return change(
    options,
    (state) => {
      machineOf(state, name);
      return { ...state, off: [...new Set([...state.off, name])] };
    },
    async (bench) => {
      await powerOff(bench, machineOf(bench.state, name));
      await applyRoutes(bench, await readRoutes(bench));
    },
  );
}

/** Power again: the machine boots, and its program goes on from its data folder. */
export function startNode(options: VerbOptions, name: string): Promise<void> {
  return change(
    options,
    (state) => {
      machineOf(state, name);
      return { ...state, off: state.off.filter((other) => other !== name) };
    },
    async (bench) => {
      const machine = machineOf(bench.state, name);
      await ensureNamespaces(bench);
      const first = await powerUp(bench, machine);
      await applyRoutes(bench, await readRoutes(bench));
      await startProgramOn(bench, machine, first);
    },
  );
}

/**
 * The words that run a command on a client or a node; on a site or access point in its network alone, for those are no machines.
 * Errors: not_found, phase_forbids.
 */
export function execWords(folder: LabFolder, name: string, command: readonly string[]): [string, string[]] {
  const { plan } = requireLab(folder);
  if (plan.clients.some((one) => one.name === name)) return wordsInside(folder.client(name), name, command);
  if (plan.machines.some((one) => one.name === name)) return wordsInside(folder.machine(name), name, command);
  const { netns } = named(
    'client, node, site or access point',
    [...plan.clients, ...plan.machines, ...plan.routers],
    name,
  );
  return ['nsenter', [`--net=${netnsPath(netns)}`, '--', ...command]];
}

/** Everything goes: processes, namespaces, control groups, files. From any half-made state, and again. */
export async function labDown({ folder, signal }: Pick<VerbOptions, 'folder' | 'signal'>): Promise<void> {
  await alone(folder, async () => {
    const state = readLabIfSound(folder);
    await cutPower(folder.path);
    await endEmulatedLinks(folder.path);
    if (state) {
      const lines = listNetns(netnsPrefix(state.id)).map((name) => `netns del ${name}`);
      await ip(lines, signal);
      for (const { name } of state.plan.machines) await forgetCgroups(folder.dataDir(name));
    }
    rmSync(folder.path, { recursive: true, force: true });
  });
  try {
    rmdirSync(dirname(folder.path));
  } catch {
    // other labs are there
  }
}

/** A damaged state names nothing: what is found by the folder goes all the same. */
function readLabIfSound(folder: LabFolder): LabState | undefined {
  try {
    return readLab(folder);
  } catch {
    return undefined;
  }
}
