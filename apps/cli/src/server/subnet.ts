/** The subnet of a data folder: chosen once, for guests that run keep their addresses. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Identity, writeFileDurably } from '@skerry/host';
import { chooseSubnet, offerSubnets } from '@skerry/network';

/** More than a controller with thousands of nodes turns down one after the other. */
const OFFERED = 32;

const fileOf = (identity: Identity): string => join(identity.dataDir, 'network.json');

function keptSubnet(identity: Identity): string | undefined {
  try {
    return (JSON.parse(readFileSync(fileOf(identity), 'utf8')) as { subnet: string }).subnet;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  }
}

/** `given`: what the controller chose when the machine joined. Errors: address_exhausted. */
export async function subnetOf(
  identity: Identity,
  given: string | undefined,
  signal: AbortSignal,
): Promise<string> {
  const kept = keptSubnet(identity);
  if (kept !== undefined) return kept;
  const subnet = given ?? (await chooseSubnet(identity, signal));
  writeFileDurably(fileOf(identity), `${JSON.stringify({ subnet })}\n`);
  return subnet;
}

/** What this machine could use, for the controller that it joins to choose from. Errors: address_exhausted. */
export async function subnetsToOffer(identity: Identity, signal: AbortSignal): Promise<string[]> {
  const kept = keptSubnet(identity);
  return kept === undefined ? offerSubnets(identity, OFFERED, signal) : [kept];
}
