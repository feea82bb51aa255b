// The promises of every runtime, kept by QEMU with pebble and with kernels of a few bytes.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { type GuestManner, runtimeConformance } from '../conformance.ts';
import type { GuestSpec } from '../port.ts';
import { makeQemuBed, type QemuBed } from './testing/bed.ts';

const make: Record<GuestManner, (bed: QemuBed) => Promise<GuestSpec>> = {
  steady: (bed) => bed.functionSpec('export const handle = () => "ok";'),
  stubborn: (bed) => bed.tinySpec('I hear no button', 'halt', 'multiboot'), // on q35, where there is one
  completes: (bed) => bed.tinySpec('all done', { exit: 0 }),
  fails: (bed) => bed.tinySpec('no luck today', { exit: 3 }),
};

const hello = fileURLToPath(new URL('../../../../guests/hello', import.meta.url));

runtimeConformance('unikernel on QEMU', async () => {
  const bed = await makeQemuBed();
  execFileSync('make', ['-s', '-C', hello]);
  const signal = AbortSignal.timeout(60_000);
  const [container] = await bed.images.importFile(join(hello, 'build/hello.tar'), { signal });
  return {
    open: () => bed.open(),
    spec: (manner) => make[manner](bed),
    kill: async (_uid, { pid }) => void process.kill(pid, 'SIGKILL'),
    leftovers: (uid) => bed.leftovers(uid),
    close: async () => expect(await bed.close()).toEqual([]),
    lastWords: 'no luck today',
    failCode: 3,
    otherKind: container!.facts.digest,
  };
});
