// The promises of every runtime, kept by virtual machines that boot from disks of one sector.
import { expect } from 'vitest';
import { type GuestManner, runtimeConformance } from '../conformance.ts';
import { makeVmBed } from './testing/bed.ts';
import { bootDisk } from './testing/boot-sector.ts';

const DISKS: Record<GuestManner, Buffer> = {
  steady: bootDisk('I wait for the button', 'button'),
  stubborn: bootDisk('I hear no button', 'halt'),
  completes: bootDisk('all done', 'off'),
  fails: bootDisk('no luck today', 'panic'),
};

runtimeConformance('vm on QEMU', async () => {
  const bed = makeVmBed();
  return {
    open: () => bed.open(),
    spec: async (manner) => bed.spec(bed.images.add(DISKS[manner], 'disk')),
    kill: async (_uid, { pid }) => void process.kill(pid, 'SIGKILL'),
    leftovers: (uid) => bed.leftovers(uid),
    close: async () => expect(await bed.close()).toEqual([]),
    lastWords: 'no luck today',
    failure: { reason: 'panic' },
    otherKind: bed.images.add(Buffer.from('no disk'), 'container'),
  };
});
