/** From a guest and its image to the program that runs it, with all that it is handed: QEMU, or a Solo5 tender. */
import { statSync } from 'node:fs';
import { formatBytes, SkerryError } from '@skerry/model';
import type { GuestSpec } from '../../port.ts';
import { tenderCommand } from '../../solo5/tender.ts';
import type { Acceleration } from '../acceleration.ts';
import { type LaunchPlan, qemuCommand } from '../command-line.ts';
import type { KernelImage } from '../kernel-image.ts';
import type { Launch } from '../launch.ts';
import { isSmall, memoryMiBOf } from '../memory.ts';
import { QEMU, QEMU_ARM64 } from '../supervise.ts';
import { guestDisks } from './guest-disks.ts';
import { rulesOf } from './rules.ts';
import { checkWords, type Told, toldOf } from './told.ts';
import { familyWords } from './words.ts';

/** Errors: unsupported for what the guest asks of a kernel that can't have it. */
export function checkWishes(spec: GuestSpec, image: KernelImage): void {
  const refuse = (why: string) => {
    throw new SkerryError('unsupported', `${spec.name} can not be started as it is: ${why}`);
  };
  const nets = (image.solo5?.devices ?? []).filter(({ type }) => type === 'net');
  if (nets.length > 1)
    refuse(
      `it asks for ${nets.length} networks (${nets.map(({ name }) => name).join(', ')}), a guest gets one`,
    );
  if (nets.length === 1 && !spec.network) refuse(`it asks for the network ${nets[0]!.name} and has none`);
  if (!image.network && spec.ports.length > 0)
    refuse('its image has no driver for a network, so nothing can reach its ports: build it with one');
  if (
    image.family === 'nanos' &&
    [...(spec.command ?? []), ...(spec.args ?? []), ...Object.keys(spec.env)].length > 0
  )
    refuse(
      'a Nanos image has its arguments and variables inside: set them where it is built (RunConfig of ops)',
    );
  const besideBytes = image.initrd === undefined ? 0 : statSync(image.initrd).size;
  if (besideBytes >= spec.memoryBytes)
    refuse(
      `what its kernel loads has ${formatBytes(besideBytes)}, it may use ${formatBytes(spec.memoryBytes)}: give it more with resources.memory`,
    );
}

/** What QEMU is to do for a guest. Errors: unsupported. */
export function launchPlan(
  spec: GuestSpec,
  image: KernelImage,
  acceleration: Acceleration,
  dataFolder: string,
  told: Told,
): LaunchPlan {
  const words = image.disk ? '' : checkWords(familyWords(image.family, told), spec.name);
  // IncludeOS' chain loader takes the service's words with the service.
  const isChained = image.family === 'includeos' && image.initrd !== undefined;
  const disks = guestDisks(dataFolder, image);
  return {
    machine: image.machine,
    acceleration: image.arch === 'arm64' ? 'tcg' : acceleration.kind,
    memoryMiB: memoryMiBOf(spec.memoryBytes),
    cpus: Math.max(1, Math.ceil(spec.cpus)),
    ...(image.kernel === undefined ? {} : { kernel: image.kernel }),
    ...(image.initrd === undefined ? {} : { initrd: image.initrd }),
    kernelArguments: isChained ? '' : words,
    ...(isChained && words !== '' ? { initrdWords: words } : {}),
    ...(spec.network && image.network ? { mac: spec.network.mac } : {}),
    ...(disks.length > 0 ? { disks } : {}),
    ...(image.solo5 ? { deviceOrder: image.solo5.devices.map(({ type }) => type) } : {}),
    rules: rulesOf(image.family),
  };
}

export interface GuestProgram
  extends Pick<Launch, 'handedOver' | 'program' | 'args' | 'tap' | 'plainFrames'> {
  readonly smallPages: boolean;
}

export interface ProgramOptions {
  readonly acceleration: Acceleration;
  readonly dataFolder: string;
  readonly supervisorPath: string;
  readonly chance: Pick<Told, 'nowMs' | 'seed'>;
  readonly programFolders?: readonly string[];
}

/** Errors: unsupported. */
export function guestProgram(spec: GuestSpec, image: KernelImage, options: ProgramOptions): GuestProgram {
  const told = toldOf(spec, image.words, options.chance);
  const smallPages = isSmall(memoryMiBOf(spec.memoryBytes));
  const tap = spec.network?.kind === 'tap' && image.network ? { tap: spec.network.device } : {};
  if (image.tender) {
    const words = checkWords(familyWords(image.family, told), spec.name);
    return { smallPages, ...tap, plainFrames: true, ...tenderCommand(spec, image, words, options) };
  }
  const plan = launchPlan(spec, image, options.acceleration, options.dataFolder, told);
  return { smallPages, ...tap, program: image.arch === 'arm64' ? QEMU_ARM64 : QEMU, ...qemuCommand(plan) };
}
