/** What the agent tells the hub of its node. Kept in a file, so that the hub begins anew without the agent. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileDurably } from '@skerry/host';

export interface LocalEndpoint {
  readonly project: string;
  readonly workload: string;
  /** Name of the port; absent: the workload has one only, without a name. */
  readonly portName?: string;
  readonly uid: string;
  readonly address: string;
  readonly port: number;
  readonly isHere?: true;
}
export interface Local {
  readonly node: string;
  /** `mqtts://HOST:PORT`, `mqtt://`, `wss://`, `https://`. */
  readonly listen: readonly string[];
  /** Paths; the files are read at start and whenever this is told. */
  readonly tls?: { readonly key: string; readonly certificate: string };
  /** Addresses and names of this node, for the URLs that it tells. */
  readonly addresses: readonly string[];
  /** Healthy instances, those of this node first. */
  readonly guests: readonly LocalEndpoint[];
  /** Another broker that devices are connected to, in place of the hub's own. */
  readonly outside?: { readonly url: string; readonly credentialsFile?: string; readonly topics?: string };
}

const fileOf = (folder: string) => join(folder, 'local.json');

/** Undefined where nothing was told yet. */
export function readLocal(folder: string): Local | undefined {
  if (!existsSync(fileOf(folder))) return undefined;
  try {
    return JSON.parse(readFileSync(fileOf(folder), 'utf8')) as Local;
  } catch {
    return undefined; // the agent tells it again
  }
}

export function writeLocal(folder: string, local: Local): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileDurably(fileOf(folder), `${JSON.stringify(local)}\n`);
}
