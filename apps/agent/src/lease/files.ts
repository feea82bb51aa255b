/**
 * Leases in files of the run folder, which is gone after a reboot as they are to be, each with a small program that ends the
 * guest at its time. A file says until when (milliseconds since boot), of which epoch, and of which boot.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bootId, bootTimeMs, guardLease, type Identity } from '@skerry/host';
import type { Id } from '@skerry/model';
import type { HeldLease } from '@skerry/reconcile';
import type { LeaseHost } from './port.ts';

export function createLeaseFiles(identity: Identity, guardPath: () => string): LeaseHost {
  const folder = join(identity.runDir, 'leases');
  const boot = bootId();
  const { dev, ino } = statSync(identity.dataDir);
  const fileOf = (uid: string) => join(folder, uid);

  const read = (uid: string): HeldLease | undefined => {
    const [untilMs, epoch, of] = readFileSync(fileOf(uid), 'utf8').trim().split(' ');
    return of === boot ? { untilMs: Number(untilMs), epoch: Number(epoch) } : undefined;
  };
  return {
    holder: createHash('sha256').update(`${boot} ${identity.dataDir} ${dev} ${ino}`).digest('base64url'),
    nowMs: bootTimeMs,
    load() {
      const found = new Map<Id<'instance'>, HeldLease>();
      let names: string[] = [];
      try {
        names = readdirSync(folder);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
      for (const name of names) {
        const lease = name.endsWith('.new') ? undefined : read(name);
        if (lease) found.set(name as Id<'instance'>, lease);
      }
      return found;
    },
    save(uid, { untilMs, epoch }) {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      writeFileSync(`${fileOf(uid)}.new`, `${Math.floor(untilMs)} ${epoch} ${boot}\n`, { mode: 0o600 });
      renameSync(`${fileOf(uid)}.new`, fileOf(uid));
    },
    remove: (uid) => rmSync(fileOf(uid), { force: true }),
    guard: (uid, pid, signal) => guardLease(guardPath(), fileOf(uid), pid, signal),
  };
}
