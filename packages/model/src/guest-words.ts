/**
 * The words of a workload that its guest is made of: a change of any of them replaces the guest, a change of the rest (health,
 * restart policy, published ports, bandwidth) is taken up while it runs. Agent and controller must agree on it. Pure.
 */
import type { WorkloadSpec } from './schema/workload.ts';

/** In a fixed order, as the agent draws a guest's incarnation from them: a new field goes where it is absent when not given. */
export function guestWords(template: WorkloadSpec) {
  const { runtime, command, args, workingDir, env, volumes, address, display, security, sim } = template;
  const { cpus, memory, disk, pids } = template.resources ?? {};
  return {
    runtime,
    resources: { cpus, memory, disk, pids },
    ...{ command, args, workingDir },
    ports: template.ports?.map(({ name, port, protocol }) => [name, port, protocol]),
    ...{ volumes, address, display, security, sim },
    ...{ vm: template.vm, system: template.system },
    env: env && Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1)),
  };
}
