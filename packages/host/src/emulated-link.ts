/**
 * A wire between two network namespaces that takes its time (native/skerry-link.c): a process of its own, which goes on when we
 * end. Its file of parameters is the truth: whoever changes it tells the process, and one that is started again reads the same.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { SkerryError } from '@skerry/model';
import { programsBelow } from './find-process.ts';
import { netnsPath } from './netns.ts';
import { endProcess, type ProcessRef, processRef, signalProcess } from './process.ts';
import { run } from './run.ts';

/** One direction of a wire. */
export interface WireWay {
  readonly delayUs: number;
  /** Bits a second; 0 is unlimited. */
  readonly rateBps: number;
  /** Of a million packets. */
  readonly lossPpm: number;
}
export interface WireEnd {
  readonly netns: string;
  /** The interface that is made there. */
  readonly device: string;
}
export interface EmulatedLink {
  /** Path of skerry-link. */
  readonly program: string;
  /** Absolute path of a file of this wire alone. */
  readonly parametersPath: string;
  readonly ends: readonly [WireEnd, WireEnd];
}

const START_LIMIT_MS = 10_000;

/** The first way leads from the first end to the second. */
export function writeWireWays(parametersPath: string, ways: readonly [WireWay, WireWay]): void {
  const lines = ways.map(
    ({ delayUs, rateBps, lossPpm }) =>
      `${Math.round(delayUs)} ${Math.round(rateBps)} ${Math.round(lossPpm)}\n`,
  );
  writeFileSync(`${parametersPath}.new`, lines.join(''), { mode: 0o600 });
  renameSync(`${parametersPath}.new`, parametersPath);
}

/** The process of the wire with this file of parameters; undefined where none runs. */
export const wireProcess = (parametersPath: string): ProcessRef | undefined =>
  programsBelow('skerry-link', parametersPath)[0];

/** Starts the wire's process where none runs; both interfaces are there (and down) afterwards. Errors: host_missing, host_command_failed. */
export async function startEmulatedLink(link: EmulatedLink, signal: AbortSignal): Promise<ProcessRef> {
  const running = wireProcess(link.parametersPath);
  if (running) return running;
  const ends = link.ends.flatMap(({ netns, device }) => [netnsPath(netns), device]);
  const { stdout } = await run(link.program, [...ends, link.parametersPath], {
    signal,
    timeoutMs: START_LIMIT_MS,
  });
  const ref = processRef(Number(stdout));
  if (!ref) throw new SkerryError('host_command_failed', `${link.program} ended at once`);
  return ref;
}

/** Changes a wire while it carries packets; those under way keep the delay that they began with. */
export function changeEmulatedLink(parametersPath: string, ways: readonly [WireWay, WireWay]): void {
  writeWireWays(parametersPath, ways);
  const running = wireProcess(parametersPath);
  if (running) signalProcess(running, 'SIGHUP');
}

/** Ends every wire whose file of parameters is below the folder; its interfaces go with it. Idempotent. */
export async function endEmulatedLinks(folder: string): Promise<void> {
  await Promise.all(programsBelow('skerry-link', folder).map((ref) => endProcess(ref, 0)));
}
