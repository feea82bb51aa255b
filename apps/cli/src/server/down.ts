/** `skerry down`: ends the program; with --purge, removes everything that the data folder put on the machine. */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { endProcess, type Identity, readHold, readIdentity, takeHold } from '@skerry/host';
import { asSkerryError, SkerryError } from '@skerry/model';
import { createLogger } from './log.ts';

/** Returns whether it ran. Errors: not_running where there is no data folder. */
export async function stop(dataDir: string, limitMs: number): Promise<boolean> {
  const identity = readIdentity(dataDir);
  const hold = readHold(identity);
  if (hold) await endProcess(hold.process, limitMs);
  const { endDeviceProgram } = await import('@skerry/app-agent/devices');
  await endDeviceProgram(identity);
  return hold !== undefined;
}

/** Everything goes: guests, engines, network, volumes, images, the data folder's content. Errors: unavailable, naming what is left. */
export async function purge(dataDir: string): Promise<void> {
  const identity = readIdentity(dataDir);
  const release = takeHold(identity);
  try {
    await removeGuests(identity);
  } finally {
    release();
  }
  for (const name of readdirSync(identity.dataDir))
    rmSync(join(identity.dataDir, name), { recursive: true, force: true });
  rmSync(identity.runDir, { recursive: true, force: true });
}

async function removeGuests(identity: Identity): Promise<void> {
  const { composeNode } = await import('./compose.ts');
  const logger = createLogger();
  logger.level = process.env.SKERRY_LOG ?? 'silent';
  const signal = AbortSignal.timeout(180_000);
  const node = await composeNode(identity, {}, logger, signal);
  try {
    await node.agent.start(signal);
    await node.agent.retire({ signal });
    await node.volumes.unmountAll(signal);
  } catch (error) {
    const failure = asSkerryError(error);
    throw new SkerryError(
      failure.code,
      `not everything could be removed, and the data folder was kept: ${failure.message}`,
      { cause: error },
    );
  } finally {
    await node.ledger.close();
  }
}
