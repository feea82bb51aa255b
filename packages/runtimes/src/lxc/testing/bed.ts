/** A data folder, a busybox root file system and network namespaces, for tests of system containers on the real LXC. */
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  cgroupFolders,
  type Identity,
  mountsBelow,
  netnsPath,
  openDataFolder,
  processesWithArgument,
  run,
} from '@skerry/host';
import { createImageStore, type ImageStore } from '@skerry/images';
import { type Bytes, type Id, newId } from '@skerry/model';
import type { GuestSpec, GuestState, Runtime } from '../../port.ts';
import { SystemFolder } from '../guest-folder.ts';
import { createLxcRuntime } from '../runtime.ts';

const APPLETS =
  'sh cat chmod chown dd df echo env free grep head hostname id ifconfig init ip kill ls mkdir mknod mount nc nproc poweroff printf ps pwd reboot rm route seq sleep stat stty sync tail test touch tr true tty umount unshare wc yes';

const V6 = 'fd00:200::2';

/** How long the tests wait for anything of a guest. */
const LIMIT_MS = 60_000;

/** A root with busybox as its init; what it prints and does stands in its inittab. */
export function makeBusyboxRoot(folder: string, inittab = '::sysinit:/bin/echo busybox is up\n'): void {
  for (const name of ['bin', 'sbin', 'etc', 'root', 'srv', 'tmp', 'run', 'data', 'dev', 'proc', 'sys'])
    mkdirSync(join(folder, name), { recursive: true });
  cpSync('/bin/busybox', join(folder, 'bin/busybox'));
  for (const name of APPLETS.split(' ')) symlinkSync('busybox', join(folder, 'bin', name));
  symlinkSync('/bin/busybox', join(folder, 'sbin/init'));
  symlinkSync('/../../../srv', join(folder, 'outward'));
  writeFileSync(join(folder, 'etc/inittab'), inittab);
  writeFileSync(join(folder, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\n');
}

export interface LxcBed {
  readonly identity: Identity;
  readonly images: ImageStore;
  /** Of the busybox root. */
  readonly digest: string;
  /** Another root with this inittab; its digest. */
  importRoot(inittab: string): Promise<string>;
  open(): Runtime;
  spec(change?: Partial<GuestSpec>): GuestSpec;
  /** A prepared network namespace with an eth0 whose other end is in the host. */
  netns(uid: Id<'instance'>): Promise<NonNullable<GuestSpec['network']>>;
  leftovers(uid: Id<'instance'>): Promise<string[]>;
  close(): Promise<void>;
}

const ip = (...args: string[]) =>
  run('ip', args, { signal: AbortSignal.timeout(LIMIT_MS), timeoutMs: 10_000, okCodes: [0, 1] });

export async function makeLxcBed(): Promise<LxcBed> {
  const native = fileURLToPath(new URL('../../../native', import.meta.url));
  execFileSync('make', ['-s', '-C', native]);
  const dataDir = mkdtempSync(join(tmpdir(), 'skerry-lxc-'));
  const identity = openDataFolder(dataDir);
  mkdirSync(identity.runDir, { recursive: true, mode: 0o711 });
  const images = await createImageStore({ dataDir });
  const importRoot = async (inittab?: string) => {
    const root = mkdtempSync(join(dataDir, 'root-'));
    chmodSync(root, 0o755);
    makeBusyboxRoot(root, inittab);
    const archive = `${root}.tar`;
    execFileSync('tar', ['-C', root, '-cf', archive, '.']);
    const limit = AbortSignal.timeout(LIMIT_MS);
    const [imported] = await images.importFile(archive, { reference: 'busybox:test', signal: limit });
    return imported!.facts.digest;
  };
  const digest = await importRoot();
  const made: Runtime[] = [];
  const names = new Map<Id<'instance'>, string>();
  const open = () => {
    const runtime = createLxcRuntime({ identity, images, logger: { warn: () => undefined } });
    made.push(runtime);
    return runtime;
  };
  return {
    ...{ identity, images, digest, importRoot, open },
    spec: (change = {}) => ({
      ...{ uid: newId<'instance'>(), name: 'guest-0', project: 'default', workload: 'guest' },
      ...{ runtime: 'system', incarnation: '1', imageDigest: digest, cpus: 1, pids: 64 },
      ...{ memoryBytes: (64 * 1024 * 1024) as Bytes, env: {}, addressing: 'static', ports: [], volumes: [] },
      security: { readOnlyRoot: false, capabilities: [], userNamespace: false },
      ...change,
    }),
    async netns(uid) {
      const netns = `${identity.netnsPrefix}${names.size}`;
      const peer = `${identity.interfacePrefix}v${names.size}`;
      names.set(uid, netns);
      await ip('netns', 'add', netns);
      await ip('link', 'add', peer, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netns);
      await ip('-n', netns, 'link', 'set', 'eth0', 'up');
      await ip('link', 'set', peer, 'up');
      await ip('-n', netns, 'addr', 'add', '10.200.0.2/24', 'dev', 'eth0');
      await ip('-n', netns, 'addr', 'add', `${V6}/64`, 'dev', 'eth0', 'nodad');
      return {
        ...{ uid, kind: 'netns', netns, path: netnsPath(netns), mac: '02:00:00:00:00:01', mtu: 1500 },
        ...{ address: '10.200.0.2', prefixLength: 24, gateway: '10.200.0.1', dns: '10.200.0.1' },
        v6: { address: V6, prefixLength: 64, gateway: 'fd00:200::1', gatewayMac: '02:00:00:00:00:02' },
      };
    },
    async leftovers(uid) {
      const netns = names.get(uid);
      if (netns) await ip('netns', 'delete', netns);
      const folder = new SystemFolder(identity, uid);
      return [
        ...(folder.exists ? [folder.data] : []),
        ...mountsBelow(folder.run),
        ...mountsBelow(folder.data),
        ...cgroupFolders(folder.cgroup),
        ...processesWithArgument(folder.run).map(({ pid }) => `process ${pid}`),
        ...processesWithArgument(uid).map(({ pid }) => `process ${pid}`),
      ];
    },
    async close() {
      for (const runtime of made) await runtime.stop();
      await open().destroy(AbortSignal.timeout(LIMIT_MS));
      for (const netns of names.values()) await ip('netns', 'delete', netns);
      rmSync(identity.runDir, { recursive: true, force: true });
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** A shell script as the guest's command. */
export const shell = (script: string) => ({ command: ['/bin/sh', '-c', script] });

export async function begin(runtime: Runtime, spec: GuestSpec): Promise<GuestState> {
  const signal = AbortSignal.timeout(LIMIT_MS);
  await runtime.apply({ do: 'create', spec }, signal);
  return runtime.apply({ do: 'start', uid: spec.uid }, signal);
}

/** All that the guest wrote so far. */
export async function logText(runtime: Runtime, uid: Id<'instance'>): Promise<string> {
  const lines: string[] = [];
  for await (const line of runtime.logs(uid, {}, AbortSignal.timeout(LIMIT_MS))) lines.push(line.text);
  return lines.join('\n');
}
