/**
 * Who may publish which port of the host. A claim is a symbolic link /run/skerry/ports/<protocol>-<port> that points to
 * `<identity>:<uid>`: making one is atomic, so that two data folders on one machine can't publish the same port, and all
 * are gone after a reboot. Ports that other programs listen on are never claimed: the rules would hide them.
 */
import { mkdirSync, readdirSync, readlinkSync, rmdirSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { findListener, type Identity, identityOf, linkState } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import type { AttachRequest, PublishedPort } from './port.ts';

const folderOf = (identity: Identity): string => join(dirname(identity.runDir), 'ports');
const nameOf = (port: PublishedPort): string => `${port.protocol}-${port.publish}`;

function readClaim(path: string): { id: string; uid: string } | undefined {
  try {
    const [id = '', uid = ''] = readlinkSync(path).split(':');
    return { id, uid };
  } catch {
    return undefined;
  }
}

function taken(port: PublishedPort, holder: string, details: Record<string, unknown>): SkerryError {
  return new SkerryError(
    'port_taken',
    `the ${port.protocol} port ${port.publish} of this node is taken: ${holder}`,
    {
      details: { port: port.publish, protocol: port.protocol, ...details },
    },
  );
}

/** Claims one port for `uid`. True when the claim is new. Errors: port_taken, naming the port and who has it. */
function claim(
  identity: Identity,
  uid: string,
  port: PublishedPort,
  nameOfGuest: (uid: string) => string,
): boolean {
  const path = join(folderOf(identity), nameOf(port));
  for (let attempt = 0; attempt < 3; attempt++) {
    const holder = readClaim(path);
    if (holder?.id === identity.id && holder.uid === uid) return false;
    if (holder?.id === identity.id)
      throw taken(port, `${nameOfGuest(holder.uid)} publishes it`, { by: holder.uid });
    if (holder && linkState(identityOf(holder.id, '').bridge)) {
      throw taken(port, `a guest of another data folder (${holder.id}) publishes it`, { by: holder.id });
    }
    const listener = findListener(port.protocol, port.publish!);
    if (listener) {
      const who =
        listener.program === undefined ? 'a program' : `${listener.program} (process ${listener.pid})`;
      throw taken(port, `${who} listens on ${listener.address}`, { ...listener });
    }
    if (holder) rmSync(path, { force: true }); // its data folder was removed from this host without a word
    try {
      symlinkSync(`${identity.id}:${uid}`, path);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error; // else: somebody was faster, look again
    }
  }
  throw taken(port, 'others are claiming it at this moment', {});
}

/** Claims all published ports of a guest or none. Errors: port_taken. Returns those that are new. */
export function claimPorts(
  identity: Identity,
  request: AttachRequest,
  nameOfGuest: (uid: string) => string,
): PublishedPort[] {
  const claimed: PublishedPort[] = [];
  try {
    for (const port of request.ports) {
      if (port.publish === undefined) continue;
      mkdirSync(folderOf(identity), { recursive: true, mode: 0o755 });
      if (claim(identity, request.uid, port, nameOfGuest)) claimed.push(port);
    }
    return claimed;
  } catch (error) {
    releasePorts(identity, request.uid, claimed);
    throw error;
  }
}

export function releasePorts(identity: Identity, uid: string, ports: readonly PublishedPort[]): void {
  for (const port of ports) {
    const path = join(folderOf(identity), nameOf(port));
    const holder = readClaim(path);
    if (holder?.id === identity.id && holder.uid === uid) rmSync(path, { force: true });
  }
}

/** Gives up every claim of this data folder but those of `keep`. */
export function sweepClaims(identity: Identity, keep: readonly AttachRequest[]): void {
  const folder = folderOf(identity);
  const wanted = new Set(keep.flatMap((guest) => guest.ports.map((port) => `${nameOf(port)} ${guest.uid}`)));
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return;
  }
  for (const name of names) {
    const holder = readClaim(join(folder, name));
    if (holder?.id === identity.id && !wanted.has(`${name} ${holder.uid}`))
      rmSync(join(folder, name), { force: true });
  }
}

/** Removes the folder of claims where no data folder has any. */
export function forgetClaims(identity: Identity): void {
  sweepClaims(identity, []);
  try {
    rmdirSync(folderOf(identity));
  } catch {
    // others have claims, or there never was one
  }
}
