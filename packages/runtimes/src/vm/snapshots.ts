/**
 * Snapshots of a virtual machine: inside its own qcow2 files, so that they go with it, with its UEFI variables and its TPM.
 * Of one that runs with its memory: it goes on exactly where it was; and where an agent answers inside, its file systems
 * hold still meanwhile, so that the disk alone is whole as well. A volume keeps no snapshots, so a guest that writes to one
 * has none with its memory: it would come back to a disk that it does not know.
 */
import { type Bytes, SkerryError } from '@skerry/model';
import type { GuestSnapshot, SnapshotPower } from '../port.ts';
import type { VmAtHand, VmGuests } from './guests.ts';
import { type KnownSnapshot, readFacts } from './snapshot-parts.ts';
import { listSnapshots, removeSnapshot, restoreSnapshot, takeSnapshot } from './snapshot-steps.ts';

/** QEMU takes a number for a snapshot's place in its list, not for its name. */
const NAME = /^[a-z][a-z0-9-]{0,62}$/;

const asSnapshot = ({ folder }: VmAtHand, one: KnownSnapshot): GuestSnapshot => ({
  name: one.name,
  takenAtMs: one['date-sec'] * 1000 + Math.floor(one['date-nsec'] / 1e6),
  sizeBytes: one['vm-state-size'] as Bytes,
  withMemory: one['vm-state-size'] > 0,
  frozen: readFacts(folder, one.name)?.frozen === true,
});

export function vmSnapshots(guests: VmGuests): SnapshotPower {
  const find = async (at: VmAtHand, name: string, signal: AbortSignal) =>
    (await listSnapshots(at, signal)).find((one) => one.name === name);

  return {
    list: (uid, signal) =>
      guests.alone(uid, async (at) => (await listSnapshots(at, signal)).map((one) => asSnapshot(at, one))),

    take: (uid, name, signal) =>
      guests.alone(uid, async (at) => {
        const { record, qmp } = at;
        if (!NAME.test(name))
          throw new SkerryError('request_invalid', 'a snapshot is named by small letters, digits and dashes');
        if (await find(at, name, signal))
          throw new SkerryError('conflict', `there is a snapshot "${name}" of ${record.spec.name}`);
        const written = record.spec.volumes.find((volume) => !volume.readOnly);
        if (qmp && written) {
          const text = `${record.spec.name} runs and writes to the volume "${written.name}", which keeps no snapshots: stop it first`;
          throw new SkerryError('unsupported', text);
        }
        await takeSnapshot(at, name, signal);
        return asSnapshot(at, (await find(at, name, signal))!);
      }),

    restore: (uid, name, signal) =>
      guests.alone(uid, async (at) => {
        const found = await find(at, name, signal);
        if (!found)
          throw new SkerryError('not_found', `there is no snapshot "${name}" of ${at.record.spec.name}`);
        await restoreSnapshot(at, found, signal);
      }),

    remove: (uid, name, signal) => guests.alone(uid, (at) => removeSnapshot(at, name, signal)),
  };
}
