/** What a lab is like now: its state, its processes, and what its controller tells. */
import { machineMemoryBytes, machineProcess } from '@skerry/host';
import { askController } from './emulate/controller.ts';
import { wireNow } from './emulate/network.ts';
import { drawLab, type LabView, type MachineView } from './picture.ts';
import type { LabFolder } from './state.ts';
import { requireLab } from './verbs.ts';

export async function lookAtLab(
  folder: LabFolder,
): Promise<LabView & { readonly controllerAnswers: boolean }> {
  const state = requireLab(folder);
  const reported = await askController(folder);
  const machines = state.plan.machines.map(({ name, role }): [string, MachineView] => {
    const first = machineProcess(folder.machine(name));
    if (!first) return [name, { name, phase: 'off', instances: [] }];
    const memoryBytes = machineMemoryBytes(first);
    if (role === 'controller')
      return [name, { name, phase: reported ? 'answers' : 'does not answer', memoryBytes, instances: [] }];
    const node = reported?.nodes.find(({ metadata }) => metadata.name === name);
    const instances = (reported?.instances ?? [])
      .filter(({ spec }) => spec.node === name)
      .map(({ metadata, status }) => `${metadata.name} ${status.phase}`);
    return [name, { name, phase: node?.status.phase ?? 'unknown', memoryBytes, instances }];
  });
  return {
    ...{ name: state.name, id: state.id, plan: state.plan, controllerAnswers: reported !== undefined },
    wires: state.plan.wires.map((wire) => wireNow(state, wire)),
    cuts: new Map(Object.entries(state.cuts).map(([name, { from }]) => [name, from ?? 'both'])),
    attached: new Map(Object.entries(state.attached)),
    machines: new Map(machines),
  };
}

export { drawLab };
