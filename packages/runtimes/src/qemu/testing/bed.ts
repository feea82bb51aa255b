/** A data folder, a node network with taps, and images, for tests of the unikernel runtime on real QEMU. */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cgroupFolders, type Identity, identityOf, processesWithArgument } from '@skerry/host';
import { createImageStore, type ImageStore } from '@skerry/images';
import { type Bytes, type Id, newId } from '@skerry/model';
import {
  addressOfSlot,
  chooseSubnet,
  createLinuxNetwork,
  macOfSlot,
  type NodeNetwork,
  parseSubnet,
} from '@skerry/network';
import type { GuestSpec, Runtime } from '../../port.ts';
import { createQemuRuntime } from '../runtime.ts';
import { buildNative, buildPebble, kernelPath, supervisorPath } from './built.ts';
import { type TinyEnd, tinyKernel } from './tiny-kernel.ts';

const signal = new AbortController().signal;
const silent = { info: () => undefined, warn: () => undefined };

export { buildNative, buildPebble, kernelPath, supervisorPath };

export class QemuBed {
  readonly identity: Identity;
  readonly images: ImageStore;
  readonly network: NodeNetwork;
  #slot = 10;

  constructor(identity: Identity, images: ImageStore, network: NodeNetwork) {
    this.identity = identity;
    this.images = images;
    this.network = network;
  }

  open(): Runtime {
    const { identity, images } = this;
    return createQemuRuntime({ identity, images, kernelPath, supervisorPath, logger: silent });
  }

  #spec(uid: Id<'instance'>, imageDigest: string, changes: Partial<GuestSpec>): GuestSpec {
    return {
      ...{ uid, imageDigest, name: `g-${this.#slot}`, project: 'default', workload: 'g' },
      ...{ runtime: 'unikernel', incarnation: 'one', cpus: 1, pids: 64, env: {}, addressing: 'static' },
      memoryBytes: (8 * 1024 * 1024) as Bytes,
      ports: [{ name: 'http', port: 8080, protocol: 'tcp' }],
      volumes: [],
      security: { readOnlyRoot: false, capabilities: [], userNamespace: false },
      ...changes,
    };
  }

  /** A function as a guest on the node network. */
  async functionSpec(source: string, changes: Partial<GuestSpec> = {}): Promise<GuestSpec> {
    const uid = newId<'instance'>();
    const { digest } = await this.images.createFunction(source, 'f.ts');
    return this.#spec(uid, digest, { ...(await this.#attached(uid)), ...changes });
  }

  /** A kernel of a few bytes without a network. */
  async tinySpec(text: string, end: TinyEnd, boot?: 'pvh' | 'multiboot'): Promise<GuestSpec> {
    const path = join(this.identity.dataDir, 'tiny.elf');
    writeFileSync(path, tinyKernel(text, end, boot));
    const [image] = await this.images.importFile(path, { reference: 'tiny:1', signal });
    return this.#spec(newId<'instance'>(), image!.facts.digest, {});
  }

  /** On the node network. */
  async #attached(uid: Id<'instance'>): Promise<Partial<GuestSpec>> {
    const slot = this.#slot++;
    const address = addressOfSlot(parseSubnet(this.network.subnet), slot);
    const mac = macOfSlot(this.identity, slot);
    const request = { uid, hostname: `g-${slot}`, kind: 'tap', slot, address, mac, ports: [] } as const;
    return { network: await this.network.attach(request, signal) };
  }

  /** From any file that the image store takes, as a guest on the node network. */
  async fileSpec(file: Buffer, changes: Partial<GuestSpec> = {}): Promise<GuestSpec> {
    const path = join(this.identity.dataDir, 'file');
    writeFileSync(path, file);
    const [image] = await this.images.importFile(path, { reference: 'file:1', signal });
    return { ...(await this.plainSpec(changes)), imageDigest: image!.facts.digest };
  }

  /** A guest on the node network, without an image. */
  async plainSpec(changes: Partial<GuestSpec> = {}): Promise<GuestSpec> {
    const uid = newId<'instance'>();
    return this.#spec(uid, '', { ...(await this.#attached(uid)), ...changes });
  }

  /** What the host still has of a guest; its tap is taken away first. */
  async leftovers(uid: Id<'instance'>): Promise<string[]> {
    await this.network.detach(uid, signal);
    const { identity } = this;
    const folders = [join(identity.runDir, 'g', uid), join(identity.dataDir, 'guests', uid)];
    return [
      ...folders.filter((folder) => existsSync(folder)),
      ...cgroupFolders(`${identity.cgroup}/${uid}`),
      ...processesWithArgument(`guest=${uid}`).map(({ pid }) => `process ${pid}`),
    ];
  }

  async close(): Promise<string[]> {
    await this.network.stop();
    await this.network.destroy(signal);
    const { dataDir, runDir, cgroup } = this.identity;
    const left = [...(existsSync(runDir) ? readdirSync(runDir) : []), ...cgroupFolders(cgroup)];
    rmSync(dataDir, { recursive: true, force: true });
    rmSync(runDir, { recursive: true, force: true });
    return left;
  }
}

export async function makeQemuBed(): Promise<QemuBed> {
  buildNative();
  buildPebble();
  const dataDir = mkdtempSync(join(tmpdir(), 'skerry-q-'));
  const identity = identityOf(randomBytes(4).toString('hex'), dataDir);
  mkdirSync(identity.runDir, { recursive: true });
  const subnet = await chooseSubnet(identity, signal);
  const network = createLinuxNetwork({ identity, subnet, logger: silent });
  await network.start([], signal);
  return new QemuBed(identity, await createImageStore({ dataDir }), network);
}
