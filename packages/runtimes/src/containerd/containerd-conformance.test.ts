// The suite of the runtime port over a real containerd, each guest in a network namespace of its own.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cgroupFolders, endProcess, mountsBelow, netnsPath, processRef, run } from '@skerry/host';
import type { ImageContent } from '@skerry/images';
import type { Id } from '@skerry/model';
import { type GuestManner, runtimeConformance } from '../conformance.ts';
import { createContainerdRuntime } from './runtime.ts';
import { createWorld, guestSpec, shell } from './testing/world.ts';

const SCRIPTS: Record<GuestManner, string> = {
  steady: 'trap "exit 0" TERM; while true; do sleep 0.05; done',
  stubborn: 'trap "" TERM; while true; do sleep 0.05; done',
  completes: 'exit 0',
  fails: 'echo these are my last words; exit 3',
};

const ip = (...args: string[]) =>
  run('ip', args, { signal: AbortSignal.timeout(10_000), timeoutMs: 10_000, okCodes: [0, 1] });

runtimeConformance('container', async () => {
  const world = await createWorld();
  const { identity, images } = world;
  const functionDigest = `sha256:${'f'.repeat(64)}`;
  const withFunction: ImageContent = {
    ...images,
    facts: async (digest) =>
      digest === functionDigest
        ? { kind: 'function', digest, sizeBytes: 1, source: 'test', facts: {} }
        : images.facts(digest),
  };
  const logger = { debug: () => undefined, info: () => undefined, warn: () => undefined };
  let slot = 0;
  const names = new Map<Id<'instance'>, string>();
  return {
    open: () => createContainerdRuntime({ identity, images: withFunction, logger }),
    async spec(manner) {
      const netns = `${identity.netnsPrefix}${slot++}`;
      await ip('netns', 'add', netns);
      const spec = guestSpec(world.images, shell(SCRIPTS[manner]));
      names.set(spec.uid, netns);
      const address = { address: '10.200.0.2', prefixLength: 24, gateway: '10.200.0.1', dns: '10.200.0.1' };
      const network = {
        ...address,
        uid: spec.uid,
        mac: '02:00:00:00:00:01',
        mtu: 1500,
        netns,
        path: netnsPath(netns),
      };
      return { ...spec, network: { ...network, kind: 'netns' } };
    },
    async kill(_uid, state) {
      const process = processRef(state.pid);
      if (process) await endProcess(process, 0);
    },
    async leftovers(uid) {
      const netns = names.get(uid);
      if (netns) await ip('netns', 'delete', netns);
      const folder = join(identity.dataDir, 'guests', uid);
      return [
        ...mountsBelow(folder),
        ...mountsBelow(join(identity.runDir, 'containerd')).filter((point) => point.includes(uid)),
        ...cgroupFolders(`${identity.cgroup}/${uid}`),
        ...[folder, join(identity.runDir, 'exec', uid)].filter((path) => existsSync(path)),
      ];
    },
    close: () => world.end(),
    lastWords: 'these are my last words',
    failCode: 3,
    otherKind: functionDigest,
  };
});
