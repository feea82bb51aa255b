/** A data folder on a Docker engine, its guests with an interface of their own, for tests. Takes everything away again. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  cgroupChildren,
  cgroupFolders,
  endProcess,
  type Identity,
  ipBatch,
  netnsPath,
  openDataFolder,
  processRef,
  run,
} from '@skerry/host';
import type { ImageContent } from '@skerry/images';
import type { Id } from '@skerry/model';
import type { GuestManner, RuntimeBed } from '../../conformance.ts';
import { busyboxImages, guestSpec, shell, type TestImages } from '../../containerd/testing/world.ts';
import type { GuestSpec, Runtime } from '../../port.ts';
import { EngineApi } from '../engine-api.ts';
import { containerName } from '../names.ts';
import { createDockerRuntime } from '../runtime.ts';
import { startDockerd } from './dockerd.ts';
import type { PrivateEngine } from './engine.ts';

const SCRIPTS: Record<GuestManner, string> = {
  steady: 'trap "exit 0" TERM; while true; do sleep 0.05; done',
  stubborn: 'trap "" TERM; while true; do sleep 0.05; done',
  completes: 'exit 0',
  fails: 'echo these are my last words; exit 3',
};
const quiet = { info: () => undefined, warn: () => undefined };
const FUNCTION = `sha256:${'f'.repeat(64)}`;
const ip = (...args: string[]) =>
  run('ip', args, { signal: AbortSignal.timeout(20_000), timeoutMs: 20_000, okCodes: [0, 1] });

export interface DockerBed extends RuntimeBed {
  readonly identity: Identity;
  readonly images: TestImages;
  readonly engine: PrivateEngine;
  open(): Runtime;
  guest(change?: Partial<GuestSpec>): Promise<GuestSpec>;
}

export async function makeDockerBed(begin: () => Promise<PrivateEngine> = startDockerd): Promise<DockerBed> {
  const engine = await begin();
  const dataDir = mkdtempSync(join(tmpdir(), 'skerry-docker-'));
  const identity = openDataFolder(dataDir);
  const images = await busyboxImages(join(dataDir, 'test-blobs'));
  const withFunction: ImageContent = {
    has: (digest) => images.has(digest),
    blobPath: (digest) => images.blobPath(digest),
    facts: async (digest) =>
      digest === FUNCTION
        ? { kind: 'function', digest, sizeBytes: 1, source: 'test', facts: {} }
        : images.facts(digest),
  };
  const devices = new Map<Id<'instance'>, string>();
  let slot = 1;
  const guest = async (change: Partial<GuestSpec> = {}): Promise<GuestSpec> => {
    const spec = guestSpec(images, change);
    const number = slot++;
    const device = `${identity.interfacePrefix}v${number}`;
    const netns = `${identity.netnsPrefix}${spec.uid}`;
    await ip('netns', 'add', netns);
    await ip('link', 'add', device, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netns);
    await ip('link', 'set', device, 'up');
    const inside = ['link set dev lo up', 'link set dev eth0 addrgenmode none up'];
    devices.set(spec.uid, device);
    const address = `10.202.${number >> 8}.${number & 255}`;
    const network = {
      address,
      prefixLength: 16,
      gateway: '10.202.255.254',
      dns: '10.202.255.254',
      mtu: 1500,
    };
    inside.push(`addr add ${address}/16 dev eth0`, `route add default via ${network.gateway}`);
    const failed = await ipBatch(inside, AbortSignal.timeout(20_000), netns);
    if (failed.length > 0) throw new Error(failed.map(({ text }) => text).join('; '));
    return {
      ...spec,
      network: {
        ...network,
        ...{ uid: spec.uid, mac: '02:00:00:00:00:01', kind: 'netns', netns, path: netnsPath(netns) },
      },
    };
  };
  const unwire = async (uid: Id<'instance'>) => {
    const device = devices.get(uid);
    if (device === undefined) return;
    await ip('link', 'delete', device);
    await ip('netns', 'delete', `${identity.netnsPrefix}${uid}`);
    devices.delete(uid);
  };
  return {
    ...{ identity, images, engine, guest },
    open: () =>
      createDockerRuntime({ identity, images: withFunction, logger: quiet, socketPath: engine.socketPath }),
    spec: (manner) => guest(shell(SCRIPTS[manner])),
    async kill(_uid, state) {
      const process = processRef(state.pid);
      if (process) await endProcess(process, 0);
    },
    async leftovers(uid) {
      await unwire(uid);
      const api = new EngineApi(engine.socketPath);
      const filters = JSON.stringify({ name: [containerName(identity.id, uid)] });
      const left = await api.call<object[]>('GET', '/containers/json', { query: { all: true, filters } });
      const all = await api.call<{ Id: string }[]>('GET', '/containers/json', { query: { all: true } });
      await api.close();
      return [
        ...left.map(() => `container of ${uid}`),
        ...cgroupChildren(identity.cgroup).filter(
          (name) => name !== 'conmon' && !all.some(({ Id }) => name.includes(Id)),
        ),
        ...[join(identity.dataDir, 'guests', uid), netnsPath(`${identity.netnsPrefix}${uid}`)].filter(
          (path) => existsSync(path),
        ),
      ];
    },
    async close() {
      for (const uid of [...devices.keys()]) await unwire(uid);
      await engine.end();
      const groups = cgroupFolders(identity.cgroup);
      if (groups.length > 0) throw new Error(`control groups are left: ${groups.join(', ')}`);
      rmSync(identity.runDir, { recursive: true, force: true });
      rmSync(dataDir, { recursive: true, force: true });
    },
    lastWords: 'these are my last words',
    failCode: 3,
    otherKind: FUNCTION,
  };
}
