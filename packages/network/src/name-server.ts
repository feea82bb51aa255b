/**
 * Names and leases for the guests of one data folder: a dnsmasq(8) on the bridge and nowhere else. It is a daemon of its
 * own that outlives the program; it is known by its pid file and its command line, and adopted when it runs already.
 *
 * A guest is a file in hosts/ (its name) and one in dhcp/ (its lease), which dnsmasq reads when they appear; when they
 * go it is told by SIGHUP. Nothing here asks dnsmasq whether it has read them.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  commandLine,
  endProcess,
  type Identity,
  isAlive,
  type ProcessRef,
  processesWithArgument,
  processRef,
  signalProcess,
  startDaemon,
} from '@skerry/host';
import { asSkerryError, SkerryError } from '@skerry/model';
import type { Subnet } from './addressing.ts';
import type { AttachRequest } from './port.ts';

/** Reserved for private use (ICANN resolution 2024.07.29.06): a guest is `<name>.internal`. */
export const DOMAIN = 'internal';
/** It takes 10 ms; on a machine that is overloaded, seconds. */
const START_LIMIT_MS = 20_000;

export function nameServerConfig(identity: Identity, subnet: Subnet, mtu: number, folder: string): string {
  return `# Written by Skerry at every start.
interface=${identity.bridge}
except-interface=lo
bind-interfaces
pid-file=${folder}/pid
log-facility=-
quiet-dhcp
no-hosts
hostsdir=${folder}/hosts
domain=${DOMAIN}
local=/${DOMAIN}/
domain-needed
bogus-priv
cache-size=1000
dhcp-range=${subnet.network},static,${subnet.netmask},12h
dhcp-hostsdir=${folder}/dhcp
dhcp-authoritative
no-ping
leasefile-ro
dhcp-option=option:router,${subnet.gateway}
dhcp-option=option:dns-server,${subnet.gateway}
dhcp-option=option:domain-search,${DOMAIN}
dhcp-option=option:mtu,${mtu}
`;
}

export interface NameServer {
  /** Starts it, or adopts the one that runs; `renew` ends that one first. Errors: host_missing, host_command_failed. */
  ensure(keep: readonly AttachRequest[], renew: boolean): Promise<void>;
  add(request: AttachRequest): void;
  remove(uid: string): void;
  running(): boolean;
  /** Why the last start failed; undefined since one went well. */
  trouble(): string | undefined;
  stop(): Promise<void>;
  /** Its files go, too. */
  destroy(): Promise<void>;
}

export function createNameServer(identity: Identity, subnet: Subnet, mtuOf: () => number): NameServer {
  const folder = join(identity.runDir, 'dnsmasq');
  const configFile = join(folder, 'dnsmasq.conf');
  const hosts = join(folder, 'hosts');
  const dhcp = join(folder, 'dhcp');

  /** The one of this folder, by its pid file; a process that was given the same id since is told apart by its arguments. */
  const find = (): ProcessRef | undefined => {
    try {
      const ref = processRef(Number(readFileSync(join(folder, 'pid'), 'utf8')));
      return ref && commandLine(ref).includes(`--conf-file=${configFile}`) ? ref : undefined;
    } catch {
      return undefined;
    }
  };

  const put = (path: string, text: string) => {
    const temporary = join(folder, `.${path.replaceAll('/', '-')}`); // outside the watched folders: seen only when whole
    writeFileSync(temporary, text, { mode: 0o644 });
    renameSync(temporary, join(folder, path));
  };
  const write = ({ uid, address, hostname, mac }: AttachRequest) => {
    put(`hosts/${uid}`, `${address} ${hostname}.${DOMAIN} ${hostname}\n`);
    put(`dhcp/${uid}`, `${mac},${address},${hostname}\n`);
  };
  const running = () => find() !== undefined;
  /** By their arguments: one whose pid file was lost would hold the address for ever. */
  const endAll = async () => {
    const all = processesWithArgument(`--conf-file=${configFile}`);
    await Promise.all(all.map((ref) => endProcess(ref, 1000)));
  };

  const begin = async () => {
    for (const name of ['pid', 'log']) rmSync(join(folder, name), { force: true });
    const ref = await startDaemon({
      file: 'dnsmasq',
      args: ['--keep-in-foreground', `--conf-file=${configFile}`],
      logFile: join(folder, 'log'),
    });
    const until = performance.now() + START_LIMIT_MS;
    while (!running()) {
      if (!isAlive(ref) || performance.now() > until) {
        await endProcess(ref, 0);
        const words = readFileSync(join(folder, 'log'), 'utf8').trim().split('\n').slice(-2).join(' | ');
        throw new SkerryError('host_command_failed', `the name server dnsmasq did not start: ${words}`);
      }
      await delay(5); // it writes its pid file once it has bound its sockets
    }
  };

  let trouble: string | undefined;
  const ensure = async (keep: readonly AttachRequest[], renew: boolean) => {
    for (const path of [hosts, dhcp]) mkdirSync(path, { recursive: true, mode: 0o755 });
    const wanted = new Set<string>(keep.map((guest) => guest.uid));
    for (const uid of [...readdirSync(hosts), ...readdirSync(dhcp)]) {
      if (!wanted.has(uid)) for (const path of [hosts, dhcp]) rmSync(join(path, uid), { force: true });
    }
    for (const guest of keep) write(guest);
    const config = nameServerConfig(identity, subnet, mtuOf(), folder);
    let before = '';
    try {
      before = readFileSync(configFile, 'utf8');
    } catch {
      // the first start since the machine booted
    }
    const old = find();
    if (old && !renew && before === config) return signalProcess(old, 'SIGHUP');
    await endAll();
    put('dnsmasq.conf', config);
    await begin();
  };

  return {
    async ensure(keep, renew) {
      try {
        await ensure(keep, renew);
        trouble = undefined;
      } catch (error) {
        trouble = asSkerryError(error).message;
        throw error;
      }
    },
    trouble: () => trouble,
    add: write,
    remove(uid) {
      for (const path of [hosts, dhcp]) rmSync(join(path, uid), { force: true });
      const ref = find();
      if (ref) signalProcess(ref, 'SIGHUP');
    },
    running,
    stop: endAll,
    async destroy() {
      await endAll();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
