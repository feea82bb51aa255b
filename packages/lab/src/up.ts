/**
 * `lab up`: from a file to an edge that runs. Each step makes what is missing and nothing else, so `up` again after a kill -9, a
 * crash of parts or a restart of the machine mends the lab; and what it makes bears the lab's identity before it is made.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { SkerryError } from '@skerry/model';
import { chooseLabSubnet } from './addresses.ts';
import {
  applyNetwork,
  applyWorkloads,
  checkPaths,
  importImages,
  placeNodes,
  waitForNodes,
  withController,
} from './emulate/controller.ts';
import { CONTROLLER_PORT, powerUp, powerUpClient, programOn, startProgramOn } from './emulate/machines.ts';
import {
  applyCuts,
  applyRoutes,
  clientDevices,
  drawLine,
  ensureNamespaces,
  ensureWires,
  hasDevice,
  readRoutes,
  sendBy,
} from './emulate/network.ts';
import { type Bench, ip, type LabPrograms } from './emulate/tools.ts';
import { CONTROLLER, type LabFile, parseLabFile } from './lab-file.ts';
import { named, planLab } from './plan.ts';
import { alone, drawLabId, type LabFolder, type LabState, labFolder, readLab, writeLab } from './state.ts';

export interface UpOptions {
  readonly labsDir: string;
  readonly file: string;
  readonly programs: LabPrograms;
  readonly signal: AbortSignal;
  /** What is being done now, for people. */
  readonly onStep: (text: string) => void;
}

/** Returns the folder of the lab. Errors: manifest_invalid, request_invalid, conflict (another file's lab has the name), and the host's. */
export async function labUp(options: UpOptions): Promise<LabFolder> {
  if (process.getuid?.() !== 0)
    throw new SkerryError('host_missing', 'skerry lab makes namespaces, and needs root: run it with sudo');
  const path = resolve(options.file);
  const text = readText(path);
  const file = parseLabFile(text);
  const base = dirname(path);
  checkPaths(file, base);
  const folder = labFolder(resolve(options.labsDir), file.name);
  await alone(folder, async () => {
    const state = await stateOf(folder, file, { text, base }, options.signal);
    await build({ folder, state, programs: options.programs, signal: options.signal }, file, options.onStep);
  });
  return folder;
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new SkerryError('request_invalid', `${path} can not be read: ${(cause as Error).message}`, {
      cause,
    });
  }
}

async function stateOf(
  folder: LabFolder,
  file: LabFile,
  from: { readonly text: string; readonly base: string },
  signal: AbortSignal,
): Promise<LabState> {
  const known = readLab(folder);
  if (known && known.text !== from.text)
    throw new SkerryError(
      'conflict',
      `the lab "${file.name}" is up with another file: end it first with skerry lab down --lab ${file.name}`,
    );
  if (known) {
    const state = { ...known, off: [], base: from.base }; // `up` gives power to what lost it
    writeLab(folder, state);
    return state;
  }
  const id = drawLabId();
  const plan = planLab(file, id, await chooseLabSubnet(id, signal));
  const state: LabState = {
    ...{ version: 1, id, name: file.name, ...from, plan },
    cuts: Object.fromEntries(
      file.links.flatMap(({ metadata, spec }) => (spec.down ? [[metadata.name, {}]] : [])),
    ),
    changes: {},
    attached: Object.fromEntries(
      file.clients.flatMap(({ metadata, spec }) =>
        spec.attachedTo === undefined ? [] : [[metadata.name, spec.attachedTo]],
      ),
    ),
    off: [],
    startedAtMs: Date.now(),
  };
  writeLab(folder, state);
  return state;
}

async function build(bench: Bench, file: LabFile, onStep: (text: string) => void): Promise<void> {
  const { folder, state } = bench;
  const { plan } = state;
  onStep('making the network');
  await ensureNamespaces(bench);
  await ensureWires(bench);
  await Promise.all(
    plan.clients.map(async (client) => {
      await powerUpClient(bench, client);
      await attach(bench, client.name);
    }),
  );
  const first = new Map(
    await Promise.all(
      plan.machines.map(async (machine) => [machine.name, await powerUp(bench, machine)] as const),
    ),
  );
  await applyCuts(
    bench,
    plan.routers.map(({ name }) => name),
  );
  await applyRoutes(bench, await readRoutes(bench));

  onStep('starting the controller');
  const controller = named('machine', plan.machines, CONTROLLER);
  await startProgramOn(bench, controller, first.get(CONTROLLER)!);
  await withController(folder, async (client) => {
    await applyNetwork(client, file, plan);
    onStep('starting the agents');
    const agents = plan.machines.filter(({ role }) => role === 'agent');
    await Promise.all(
      agents.map(async (machine) => {
        const dataDir = folder.dataDir(machine.name);
        if (programOn(dataDir)) return;
        const joined = existsSync(join(dataDir, 'agent/node.crt'));
        const asks = {
          validSeconds: 600,
          node: machine.name,
          server: `${controller.address}:${CONTROLLER_PORT}`,
        };
        const token = joined ? undefined : (await client.node.token({ body: asks })).token;
        await startProgramOn(bench, machine, first.get(machine.name)!, token);
      }),
    );
    onStep('importing images');
    await importImages(client, file, state.base);
    onStep('waiting for the nodes');
    await waitForNodes(
      client,
      agents.map(({ name }) => name),
    );
    await placeNodes(client, file);
    onStep('applying workloads');
    await applyWorkloads(client, file, state.base);
  });
}

/** The line of a client to where it is attached, made anew where a handover was interrupted. */
async function attach(bench: Bench, name: string): Promise<void> {
  const { signal, state } = bench;
  const client = named('client', state.plan.clients, name);
  const at = state.attached[name];
  const devices = await clientDevices(bench, client);
  const fits = at !== undefined && devices.length === 1 && (await hasDevice(bench, at, client.device));
  if (!fits)
    await ip(
      devices.map((device) => `link del dev ${device}`),
      signal,
      client.netns,
    );
  if (at === undefined) return;
  const own = fits ? devices[0]! : 'eth0';
  await drawLine(bench, client, at, own);
  await sendBy(bench, client, at, own);
}
