/**
 * The machines of a lab: the controller, a node each with an agent, and the clients. Each has its own processes, mounts, name and
 * data folder; what runs there is the program itself, and it does not know that it is in a lab.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  clearCgroup,
  commandLine,
  cutPower,
  insideMachine,
  machineProcess,
  type ProcessRef,
  processesWithArgument,
  readIdentity,
  run,
  startMachineSpace,
} from '@skerry/host';
import { SkerryError } from '@skerry/model';
import type { LabClient, LabPlan, Machine } from '../plan.ts';
import { connectMachine, disconnectMachine, ownFolder } from './network.ts';
import type { Bench } from './tools.ts';

/** Where agents find the controller. */
export const CONTROLLER_PORT = 7443;
const START_LIMIT_MS = 60_000;

/** Every part by its name: `ping tower-1`. */
function hostsOf(plan: LabPlan): string {
  const parts = [...plan.routers, ...plan.clients, ...plan.machines]; // of twins the machine is meant
  const byName = new Map(parts.map(({ name, address }) => [name, address]));
  return ['127.0.0.1 localhost', ...[...byName].map(([name, address]) => `${address} ${name}`), ''].join(
    '\n',
  );
}

const hasRun = (dataDir: string): boolean => existsSync(join(dataDir, 'identity.json'));

/** The program on this data folder, where it runs. */
export const programOn = (dataDir: string): ProcessRef | undefined =>
  processesWithArgument(dataDir).find((ref) =>
    commandLine(ref).some((word) => word === 'agent' || word === 'controller'),
  );

/** A machine that is on, with nothing on it yet. */
export async function powerUp(bench: Bench, machine: Machine): Promise<ProcessRef> {
  const { folder, state, programs, signal } = bench;
  const own = folder.machine(machine.name);
  ownFolder(own);
  writeFileSync(join(own, 'resolv.conf'), '# a lab has no name servers but those of its nodes\n');
  writeFileSync(join(own, 'hosts'), hostsOf(state.plan));
  await connectMachine(bench, machine);
  return startMachineSpace(
    { program: programs.machine, netns: machine.netns, hostname: machine.name, folder: own },
    signal,
  );
}

export async function powerUpClient(
  { folder, state, programs, signal }: Bench,
  client: LabClient,
): Promise<void> {
  const own = folder.client(client.name);
  ownFolder(own);
  writeFileSync(
    join(own, 'resolv.conf'),
    `nameserver ${state.plan.nearestNode}\noptions timeout:1 attempts:3\n`,
  );
  writeFileSync(join(own, 'hosts'), hostsOf(state.plan));
  const space = { program: programs.machine, netns: client.netns, hostname: client.name, folder: own };
  await startMachineSpace(space, signal);
}

/** The controller, or the agent: the program in the background, where it does not run. `token`: for a node that has not joined. */
export async function startProgramOn(
  { folder, state, programs, signal }: Bench,
  machine: Machine,
  first: ProcessRef,
  token?: string,
): Promise<void> {
  const dataDir = folder.dataDir(machine.name);
  if (programOn(dataDir)) return;
  const words =
    machine.role === 'controller'
      ? ['controller', '--listen', `${machine.address}:${CONTROLLER_PORT}`]
      : [
          ...['agent', '--name', machine.name, ...(token === undefined ? [] : ['--join', '-'])],
          ...['--underlay', machine.address, '--access', state.plan.nearestNode],
        ];
  const [file, args] = insideMachine(first, [
    ...programs.skerry,
    '--data',
    dataDir,
    ...words,
    ...machine.words,
    '--detach',
  ]);
  try {
    await run(file, args, {
      ...{ signal, timeoutMs: START_LIMIT_MS },
      ...(token === undefined ? {} : { input: `${token}\n` }),
    });
  } catch (cause) {
    const why = cause instanceof SkerryError ? String(cause.details.stderr ?? cause.message) : String(cause);
    throw new SkerryError('unavailable', `${machine.name} did not start: ${why}`, { cause });
  }
}

/** All at once, as when the power goes: agent, engines, guests, and what they had mounted. Its disk stays. Idempotent. */
export async function powerOff(bench: Bench, machine: Machine): Promise<void> {
  const { folder } = bench;
  await cutPower(folder.machine(machine.name));
  await disconnectMachine(bench, machine);
  await forgetCgroups(folder.dataDir(machine.name));
}

/** Control groups are the host's, and know nothing of the machine's end. Errors: unavailable where one can not be emptied. */
export async function forgetCgroups(dataDir: string): Promise<void> {
  if (!hasRun(dataDir)) return;
  const { cgroup } = readIdentity(dataDir);
  if (!(await clearCgroup(cgroup)))
    throw new SkerryError('unavailable', `the control group ${cgroup} is in use`);
}

/** The words that run a command on a client or a machine. Errors: phase_forbids where it is off. */
export function wordsInside(folder: string, name: string, command: readonly string[]): [string, string[]] {
  const first = machineProcess(folder);
  if (!first)
    throw new SkerryError(
      'phase_forbids',
      `${name} is off: skerry lab start ${name}, or skerry lab up again`,
    );
  return insideMachine(first, command);
}
