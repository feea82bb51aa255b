/** Starts the QEMU of a unikernel under skerry-run (launch.ts). */
import { type LaunchPlan, qemuCommand } from './command-line.ts';
import { type Launch, launch } from './launch.ts';
import { isSmall } from './memory.ts';

export const QEMU = '/usr/bin/qemu-system-x86_64';
/** For kernels of arm64: emulated, whatever the host can accelerate. */
export const QEMU_ARM64 = '/usr/bin/qemu-system-aarch64';

export interface Supervised extends Omit<Launch, 'handedOver' | 'smallPages' | 'program' | 'args'> {
  readonly plan: LaunchPlan;
}

/** Errors: guest_start_failed with what the supervisor said, cancelled. */
export function supervise({ plan, ...rest }: Supervised, signal: AbortSignal): Promise<void> {
  const smallPages = isSmall(plan.memoryMiB);
  return launch({ ...rest, smallPages, program: QEMU, ...qemuCommand(plan) }, signal);
}
