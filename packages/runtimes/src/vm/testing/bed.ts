/** A data folder and disk images, for tests of the runtime of virtual machines on real QEMU. */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cgroupFolders, type Identity, identityOf, processesWithArgument } from '@skerry/host';
import type { ImageContent, ImageFacts } from '@skerry/images';
import { type Bytes, type Id, newId, SkerryError } from '@skerry/model';
import type { GuestSpec, Runtime } from '../../port.ts';
import { buildNative, buildPebble, kernelPath, supervisorPath } from '../../qemu/testing/built.ts';
import { createVmRuntime } from '../runtime.ts';

const silent = { info: () => undefined, warn: () => undefined };
const MiB = 1024 * 1024;

/** Blobs in a folder, each with what an inspector would have said of it. */
export class DiskImages implements ImageContent {
  readonly #folder: string;
  readonly #facts = new Map<string, ImageFacts>();

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true });
  }

  /** Returns the digest. */
  add(content: Buffer, kind: ImageFacts['kind'], facts: object = {}, arch = 'amd64'): string {
    const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
    if (!this.#facts.has(digest)) writeFileSync(this.blobPath(digest), content);
    const about = { format: 'raw', virtualSizeBytes: content.length, ...facts };
    this.#facts.set(digest, { digest, kind, arch, sizeBytes: content.length, source: 'test', facts: about });
    return digest;
  }

  blobPath(digest: string): string {
    return join(this.#folder, digest.slice('sha256:'.length));
  }

  async has(digest: string): Promise<boolean> {
    return this.#facts.has(digest);
  }

  async facts(digest: string): Promise<ImageFacts> {
    const facts = this.#facts.get(digest);
    if (!facts) throw new SkerryError('image_not_found', `there is no image ${digest}`);
    return facts;
  }
}

export class VmBed {
  readonly identity: Identity;
  readonly images: DiskImages;

  constructor(identity: Identity) {
    this.identity = identity;
    this.images = new DiskImages(join(identity.dataDir, 'images'));
  }

  open(): Runtime {
    const { identity, images } = this;
    return createVmRuntime({
      ...{ identity, images, kernelPath, supervisorPath, logger: silent },
      lookEveryMs: 100,
    });
  }

  spec(imageDigest: string, changes: Partial<GuestSpec> = {}): GuestSpec {
    return {
      ...{ uid: newId<'instance'>(), imageDigest, name: 'v-1', project: 'default', workload: 'v' },
      ...{ runtime: 'vm', incarnation: 'one', cpus: 1, pids: 64, env: {}, addressing: 'static' },
      memoryBytes: (16 * MiB) as Bytes,
      ports: [],
      volumes: [],
      security: { readOnlyRoot: false, capabilities: [], userNamespace: false },
      ...changes,
    };
  }

  /** What the host still has of a guest. */
  async leftovers(uid: Id<'instance'>): Promise<string[]> {
    const { identity } = this;
    const folders = [join(identity.runDir, 'v', uid), join(identity.dataDir, 'guests', uid)];
    return [
      ...folders.filter((folder) => existsSync(folder)),
      ...cgroupFolders(`${identity.cgroup}/${uid}`),
      ...processesWithArgument(`guest=${uid}`).map(({ pid }) => `process ${pid}`),
    ];
  }

  async close(): Promise<string[]> {
    const { dataDir, runDir, cgroup } = this.identity;
    const left = [...(existsSync(runDir) ? readdirSync(runDir) : []), ...cgroupFolders(cgroup)];
    rmSync(dataDir, { recursive: true, force: true });
    rmSync(runDir, { recursive: true, force: true });
    return left;
  }
}

export function makeVmBed(): VmBed {
  buildNative();
  buildPebble();
  const dataDir = mkdtempSync(join(tmpdir(), 'skerry-vm-'));
  const identity = identityOf(randomBytes(4).toString('hex'), dataDir);
  mkdirSync(identity.runDir, { recursive: true });
  return new VmBed(identity);
}
