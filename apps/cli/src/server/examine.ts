/**
 * What `skerry doctor` finds by itself: the machine, and, while the program does not run, what each kind of guest has there.
 * Nothing is started, and what is tried is tried in a folder that is gone afterwards.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { examineMachine, openDataFolder, readHold, readIdentity } from '@skerry/host';
import { asSkerryError, type ProbeFinding, type RuntimeKind } from '@skerry/model';
import { keptChoice } from './engine-choice.ts';
import { createLogger } from './log.ts';

const LIMIT_MS = 30_000;

/** Rights, programs, control groups, room. */
export const examineHere = (dataDir: string): Promise<ProbeFinding[]> =>
  examineMachine(dataDir, AbortSignal.timeout(LIMIT_MS));

/** Process id of the agent that runs here for a controller elsewhere. */
export function agentHere(dataDir: string): number | undefined {
  try {
    return readHold(readIdentity(dataDir))?.process.pid;
  } catch {
    return undefined;
  }
}

/** The machine, the kernel's networks, and the four kinds of guest. Needs root for all but the first. */
export async function examine(dataDir: string): Promise<ProbeFinding[]> {
  const machine = await examineHere(dataDir);
  if (process.getuid?.() !== 0) return machine;
  const signal = AbortSignal.timeout(LIMIT_MS);
  return [...machine, ...(await examineKinds(dataDir, signal))];
}

/** On the file system that the data folder is on, or would be. */
async function examineKinds(dataDir: string, signal: AbortSignal): Promise<ProbeFinding[]> {
  const { composeImages, composeRuntimes } = await import('./compose.ts');
  const { probeKernel } = await import('@skerry/network');
  let folder: string;
  try {
    folder = mkdtempSync(join(nearestFolder(dataDir), '.skerry-doctor-'));
  } catch (error) {
    const remedy = 'Choose another data folder with --data.';
    return [
      {
        ...untold('machine.dataFolder', `nothing can be written there: ${(error as Error).message}`),
        remedy,
      },
    ];
  }
  const logger = createLogger();
  logger.level = 'silent';
  let runDir: string | undefined;
  try {
    const identity = openDataFolder(folder);
    runDir = identity.runDir;
    const images = await composeImages(identity);
    const runtimes = composeRuntimes(identity, keptChoice(dataDir) ?? {}, images, logger);
    const found = await Promise.all([
      probeKernel(identity, signal),
      ...runtimes.map((runtime) =>
        runtime.probe(signal).catch((thrown) => [untold(runtime.kind, asSkerryError(thrown).message)]),
      ),
    ]);
    return found.flat();
  } catch (error) {
    return [untold('machine.built', asSkerryError(error).message)];
  } finally {
    rmSync(folder, { recursive: true, force: true });
    if (runDir !== undefined) rmSync(runDir, { recursive: true, force: true });
  }
}

const untold = (name: RuntimeKind | 'machine.built' | 'machine.dataFolder', text: string): ProbeFinding => ({
  ...{ name, ok: false, level: 'missing', text },
});

function nearestFolder(path: string): string {
  const full = resolve(path);
  return existsSync(full) ? full : nearestFolder(dirname(full));
}
