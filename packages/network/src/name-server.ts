/**
 * Names and leases for the guests of one data folder: a dnsmasq(8) on the bridge and nowhere else; and, where the node has
 * an access side, another one that answers clients there: the names of services, and whatever the node itself can look up.
 *
 * A guest is a file in hosts/ (its name) and one in dhcp/ (its lease), which dnsmasq reads when they appear; when they
 * go it is told by SIGHUP, as when the file of the services has changed. Nothing here asks whether it has read them.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Identity } from '@skerry/host';
import { asSkerryError } from '@skerry/model';
import type { Subnet } from './addressing.ts';
import { createDnsmasq } from './dnsmasq.ts';
import type { AttachRequest, NetworkService } from './port.ts';

/** Reserved for private use (ICANN resolution 2024.07.29.06): a guest is `<name>.internal`. */
export const DOMAIN = 'internal';
/** Of services: `<workload>.<project>.edge`. No such top-level domain exists; a name below it never leaves the node. */
export const SERVICE_DOMAIN = 'edge';

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
addn-hosts=${folder}/services
domain=${DOMAIN}
local=/${DOMAIN}/
local=/${SERVICE_DOMAIN}/
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

/** No leases, and no names of guests: they are nobody's business outside. */
export function accessServerConfig(addresses: readonly string[], folder: string): string {
  return `# Written by Skerry at every start.
${addresses.map((address) => `listen-address=${address}`).join('\n')}
bind-dynamic
pid-file=${folder}/pid
log-facility=-
no-hosts
addn-hosts=${folder}/services
local=/${DOMAIN}/
local=/${SERVICE_DOMAIN}/
domain-needed
bogus-priv
cache-size=1000
`;
}

const servicesText = (services: readonly NetworkService[]): string =>
  services
    .filter(({ names }) => names.length > 0)
    .flatMap(({ address, address6, names }) => [
      `${address} ${names.join(' ')}\n`,
      ...(address6 === undefined ? [] : [`${address6} ${names.join(' ')}\n`]),
    ])
    .join('');

export interface NameServer {
  /** Starts it, or adopts the one that runs; `renew` ends that one first. Errors: host_missing, host_command_failed. */
  ensure(keep: readonly AttachRequest[], renew: boolean): Promise<void>;
  add(request: AttachRequest): void;
  remove(uid: string): void;
  /** From now on these names are answered and no other ones of services. */
  tellServices(services: readonly NetworkService[]): void;
  running(): boolean;
  /** Why the last start failed; undefined since one went well. */
  trouble(): string | undefined;
  stop(): Promise<void>;
  /** Its files go, too. */
  destroy(): Promise<void>;
}

export interface NameServerOptions {
  readonly identity: Identity;
  readonly subnet: Subnet;
  readonly mtu: () => number;
  /** Addresses of the node at which clients ask; none: only guests are answered. */
  readonly accessAddresses: readonly string[];
}

export function createNameServer(options: NameServerOptions): NameServer {
  const { identity, subnet, mtu, accessAddresses } = options;
  const folder = join(identity.runDir, 'dnsmasq');
  const accessFolder = join(identity.runDir, 'dnsmasq-access');
  const hosts = join(folder, 'hosts');
  const dhcp = join(folder, 'dhcp');
  const guestsSide = createDnsmasq(folder);
  const accessSide = createDnsmasq(accessFolder);
  const hasAccess = accessAddresses.length > 0;
  const sides = [
    { server: guestsSide, folder, wanted: true },
    { server: accessSide, folder: accessFolder, wanted: hasAccess },
  ];

  const write = ({ uid, kind, address, address6, hostname, mac }: AttachRequest) => {
    // of a guest with a kernel of its own nobody knows whether it took the address
    const sure = kind === 'netns' && address6 !== undefined ? [address6] : [];
    const lines = [address, ...sure].map((one) => `${one} ${hostname}.${DOMAIN} ${hostname}\n`);
    guestsSide.put(`hosts/${uid}`, lines.join(''));
    guestsSide.put(`dhcp/${uid}`, `${mac},${address},${hostname}\n`);
  };

  const ensure = async (keep: readonly AttachRequest[], renew: boolean) => {
    for (const path of [hosts, dhcp]) mkdirSync(path, { recursive: true, mode: 0o755 });
    const wanted = new Set<string>(keep.map((guest) => guest.uid));
    for (const uid of [...readdirSync(hosts), ...readdirSync(dhcp)]) {
      if (!wanted.has(uid)) for (const path of [hosts, dhcp]) rmSync(join(path, uid), { force: true });
    }
    for (const guest of keep) write(guest);
    if (!existsSync(join(folder, 'services'))) guestsSide.put('services', '');
    await guestsSide.ensure(nameServerConfig(identity, subnet, mtu(), folder), renew);
    if (!hasAccess) return endAccess();
    mkdirSync(accessFolder, { recursive: true, mode: 0o755 });
    accessSide.put('services', readFileSync(join(folder, 'services'), 'utf8'));
    await accessSide.ensure(accessServerConfig(accessAddresses, accessFolder), renew);
  };
  const endAccess = async () => {
    await accessSide.stop();
    rmSync(accessFolder, { recursive: true, force: true });
  };

  let trouble: string | undefined;
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
      guestsSide.reload();
    },
    tellServices(services) {
      const text = servicesText(services);
      for (const side of sides) {
        if (!side.wanted) continue;
        const path = join(side.folder, 'services');
        if (existsSync(path) && readFileSync(path, 'utf8') === text) continue;
        mkdirSync(side.folder, { recursive: true, mode: 0o755 });
        side.server.put('services', text);
        side.server.reload();
      }
    },
    running: () => sides.every(({ server, wanted }) => !wanted || server.running()),
    async stop() {
      await Promise.all(sides.map(({ server }) => server.stop()));
    },
    async destroy() {
      await Promise.all(sides.map(({ server }) => server.stop()));
      for (const side of sides) rmSync(side.folder, { recursive: true, force: true });
    },
  };
}
