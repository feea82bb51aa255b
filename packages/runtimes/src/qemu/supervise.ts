/** Starts the QEMU of a unikernel under skerry-run (launch.ts). */
import { type LaunchPlan, qemuArguments } from './command-line.ts';
import { type Launch, launch } from './launch.ts';
import { isSmall } from './memory.ts';

export const QEMU = '/usr/bin/qemu-system-x86_64';

export interface Supervised extends Omit<Launch, 'handedOver' | 'smallPages' | 'program' | 'args'> {
  readonly kernel: string;
  readonly initrd?: string;
  readonly plan: LaunchPlan;
}

/** Errors: guest_start_failed with what the supervisor said, cancelled. */
export function supervise({ kernel, initrd, plan, ...rest }: Supervised, signal: AbortSignal): Promise<void> {
  const paths = initrd === undefined ? [kernel] : [kernel, initrd];
  return launch(
    {
      ...rest,
      handedOver: paths.map((path) => ({ as: 'open', path })),
      smallPages: isSmall(plan.memoryMiB),
      program: QEMU,
      args: qemuArguments(plan),
    },
    signal,
  );
}
