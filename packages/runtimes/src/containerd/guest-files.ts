/**
 * What a container has on the host beside its snapshot: `<dataDir>/guests/<uid>/` with its record, its log and the three
 * files that name it. The record is what recovery reads after a crash; it is written before what it tells of.
 */
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Identity } from '@skerry/host';
import type { GuestExit, Id } from '@skerry/model';
import type { GuestSpec } from '../port.ts';

export interface GuestFiles {
  readonly folder: string;
  readonly resolvConf: string;
  readonly hosts: string;
  readonly hostname: string;
  /** Sparse image of the writable layer and where it is mounted; only with a disk limit. */
  readonly layerImage: string;
  readonly layer: string;
}

export interface GuestRecord {
  readonly spec: GuestSpec;
  readonly stopSignal?: string;
  /** `process` of the runtime spec without arguments: what `exec` starts from. */
  readonly process: object;
  /** Of its first process, once there is one. */
  readonly pid?: number;
  readonly startedAtMs?: number;
  /** Set before the first signal: an end after it was asked for, also when we were not there to see it. */
  readonly stop?: { readonly askedAtMs: number; readonly forced: boolean };
  readonly exit?: GuestExit;
}

const RECORD = 'container.json';

/** Pipes of commands that run in a guest. */
export const execFolder = (identity: Identity, uid: Id<'instance'>): string =>
  join(identity.runDir, 'exec', uid);

export class GuestFolders {
  readonly #root: string;
  readonly #records = new Map<string, GuestRecord>();

  constructor(identity: Identity) {
    this.#root = join(identity.dataDir, 'guests');
  }

  files(uid: Id<'instance'>): GuestFiles {
    const folder = join(this.#root, uid);
    return {
      folder,
      resolvConf: join(folder, 'resolv.conf'),
      hosts: join(folder, 'hosts'),
      hostname: join(folder, 'hostname'),
      layerImage: join(folder, 'layer.img'),
      layer: join(folder, 'layer'),
    };
  }

  /** `owner`: the host's id of the guest's root. */
  create(spec: GuestSpec, owner: number): GuestFiles {
    const files = this.files(spec.uid);
    mkdirSync(files.folder, { recursive: true, mode: 0o711 });
    this.write(spec.uid, { spec, process: {} }); // first of all: whoever finds the rest knows whose it is
    const { network } = spec;
    const resolve = network ? `nameserver ${network.dns}\noptions ndots:0\n` : '';
    writeFileSync(files.resolvConf, resolve, { mode: 0o644 });
    writeFileSync(files.hostname, `${spec.name}\n`, { mode: 0o644 });
    const own = network ? `${network.address} ${spec.name}\n` : '';
    writeFileSync(files.hosts, `127.0.0.1 localhost\n::1 localhost ip6-localhost\n${own}`, { mode: 0o644 });
    if (owner !== 0)
      for (const file of [files.resolvConf, files.hosts, files.hostname]) chownSync(file, owner, owner);
    return files;
  }

  read(uid: Id<'instance'>): GuestRecord | undefined {
    const known = this.#records.get(uid);
    if (known) return known;
    try {
      const record = JSON.parse(readFileSync(join(this.#root, uid, RECORD), 'utf8')) as GuestRecord;
      this.#records.set(uid, record);
      return record;
    } catch {
      return undefined;
    }
  }

  write(uid: Id<'instance'>, record: GuestRecord): void {
    this.#records.set(uid, record);
    // Whole or not at all, but not synced: after a power cut no container runs, whatever its record says.
    const path = join(this.#root, uid, RECORD);
    writeFileSync(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  has(uid: Id<'instance'>): boolean {
    return existsSync(join(this.#root, uid, RECORD));
  }

  /** Guests that have a folder of ours, whole or half made. */
  list(): Id<'instance'>[] {
    try {
      return readdirSync(this.#root).filter((name) => this.has(name as Id<'instance'>)) as Id<'instance'>[];
    } catch {
      return [];
    }
  }

  remove(uid: Id<'instance'>): void {
    this.#records.delete(uid);
    rmSync(join(this.#root, uid), { recursive: true, force: true });
  }
}
