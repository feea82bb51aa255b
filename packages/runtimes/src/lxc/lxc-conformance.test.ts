// The promises of every runtime, kept by LXC with a busybox root, each guest in a network namespace of its own.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { endProcess, processRef } from '@skerry/host';
import { type GuestManner, runtimeConformance } from '../conformance.ts';
import { makeLxcBed, shell } from './testing/bed.ts';

const SCRIPTS: Record<GuestManner, string> = {
  steady: 'trap "exit 0" TERM; while true; do sleep 0.05; done',
  stubborn: 'trap "" TERM; while true; do sleep 0.05; done',
  completes: 'exit 0',
  fails: 'echo these are my last words; exit 3',
};
const hello = fileURLToPath(new URL('../../../../guests/hello', import.meta.url));

runtimeConformance('system container on LXC', async () => {
  const bed = await makeLxcBed();
  execFileSync('make', ['-s', '-C', hello]);
  const signal = AbortSignal.timeout(60_000);
  const [container] = await bed.images.importFile(join(hello, 'build/hello.tar'), { signal });
  return {
    open: () => bed.open(),
    async spec(manner) {
      const spec = bed.spec(shell(SCRIPTS[manner]));
      return { ...spec, network: await bed.netns(spec.uid) };
    },
    async kill(_uid, { pid }) {
      const process = processRef(pid);
      if (process) await endProcess(process, 0);
    },
    leftovers: (uid) => bed.leftovers(uid),
    close: () => bed.close(),
    lastWords: 'these are my last words',
    failCode: 3,
    otherKind: container!.facts.digest,
  };
});
