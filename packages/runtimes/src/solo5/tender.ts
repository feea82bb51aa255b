/**
 * A Solo5 guest for hvt or spt runs under Solo5's own tender (github.com/Solo5/solo5), not in QEMU. skerry-tender stands
 * between it and the supervisor, and speaks the few words of a monitor that one expects. Every device of the manifest is
 * attached by its name, as an open file: the tender opens nothing of ours itself. Pure but for looking where the tender is.
 */
import { dirname, join } from 'node:path';
import { SkerryError } from '@skerry/model';
import type { GuestSpec } from '../port.ts';
import { guestDisks } from '../qemu/families/guest-disks.ts';
import { findProgram } from '../qemu/families/needs.ts';
import type { KernelImage } from '../qemu/kernel-image.ts';
import type { HandedOver } from '../qemu/launch.ts';
import { memoryMiBOf } from '../qemu/memory.ts';

const KERNEL_FD = 7;
const TAP_FD = 4;

export interface TenderCommand {
  readonly program: string;
  readonly args: readonly string[];
  readonly handedOver: readonly HandedOver[];
}

/** `words`: the guest's command line. Errors: unsupported where the tender is not installed. */
export function tenderCommand(
  spec: GuestSpec,
  image: KernelImage,
  words: string,
  options: {
    readonly supervisorPath: string;
    readonly dataFolder: string;
    readonly programFolders?: readonly string[];
  },
): TenderCommand {
  const { devices = [], target = 'spt' } = image.solo5 ?? {};
  const name = `solo5-${target}`;
  const tender = findProgram(name, options.programFolders);
  if (!tender)
    throw new SkerryError(
      'unsupported',
      `Solo5's tender ${name} is not installed on this node: build it from Solo5's sources`,
    );
  const disks = guestDisks(options.dataFolder, image);
  const attached = devices.flatMap((device) => {
    if (device.type === 'net')
      return [`--net:${device.name}=@${TAP_FD}`, `--net-mac:${device.name}=${spec.network?.mac ?? ''}`];
    const index = disks.findIndex(({ path }) => path.endsWith(`/block-${device.name}.raw`));
    return [`--block:${device.name}=/proc/self/fd/${KERNEL_FD + 1 + index}`];
  });
  return {
    program: join(dirname(options.supervisorPath), 'skerry-tender'),
    args: [
      ...['--', tender, `--mem=${memoryMiBOf(spec.memoryBytes)}`],
      ...attached,
      ...['--', `/proc/self/fd/${KERNEL_FD}`],
      ...(words === '' ? [] : [words]),
    ],
    handedOver: [
      { as: 'open', path: image.kernel! },
      ...disks.map(({ path }) => ({ as: 'disk', path }) as const),
    ],
  };
}
