/**
 * The documents of cloud-init's NoCloud datasource (cloudinit.readthedocs.io, reference/datasources/nocloud): who the guest
 * is, its keys, its network, its user data. JSON is YAML, so nothing that a person wrote is ever quoted wrongly. Pure.
 */
import { createHash } from 'node:crypto';
import { flawOfNetworkConfig, flawOfUserData } from '@skerry/contract/schema';
import { SkerryError } from '@skerry/model';
import type { Card } from '@skerry/network';
import type { GuestSpec } from '../port.ts';

export interface SeedFiles {
  readonly 'meta-data': string;
  readonly 'user-data': string;
  readonly 'network-config'?: string;
}

/** Errors: request_invalid. The text is not repeated. */
function check(name: string, flaw: string | undefined): void {
  if (flaw !== undefined) throw new SkerryError('request_invalid', `cloud-init's ${name} ${flaw}`);
}

/** Version 2 (reference/network-config-format-v2), by the card's address: names of cards differ between systems. */
function networkConfig({ network, addressing }: GuestSpec): string | undefined {
  if (!network) return undefined;
  const { mac, address, prefixLength, gateway, dns, mtu, v6 } = network;
  const card = { match: { macaddress: mac.toLowerCase() } };
  const settings =
    addressing === 'static'
      ? {
          dhcp4: false,
          addresses: [`${address}/${prefixLength}`, ...(v6 ? [`${v6.address}/${v6.prefixLength}`] : [])],
          routes: [{ to: '0.0.0.0/0', via: gateway }, ...(v6 ? [{ to: '::/0', via: v6.gateway }] : [])],
          nameservers: { addresses: [dns] },
          mtu,
        }
      : { dhcp4: true };
  const further = cardsOf(network).map(({ mac: own, address: fixed }, index) => [
    `net${index + 1}`,
    {
      match: { macaddress: own },
      optional: true, // nothing waits for a network that may have no DHCP
      ...(fixed === undefined
        ? { dhcp4: true, 'dhcp4-overrides': { 'use-routes': false } }
        : { dhcp4: false, addresses: [fixed] }),
    },
  ]);
  const ethernets = { net0: { ...card, ...settings }, ...Object.fromEntries(further) };
  return JSON.stringify({ version: 2, ethernets });
}

const cardsOf = (network: GuestSpec['network']): readonly Card[] =>
  network?.kind === 'tap' ? (network.cards ?? []) : [];

const shortHash = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 12);

/** Undefined where the guest has nothing to be told. Errors: request_invalid. */
export function seedFiles(spec: GuestSpec): SeedFiles | undefined {
  const { vm, network, addressing } = spec;
  const told = vm?.cloudInit;
  const isTold = network !== undefined && (addressing === 'static' || cardsOf(network).length > 0);
  if (!told && !isTold) return undefined;
  if (told?.userData !== undefined) check('user data', flawOfUserData(told.userData));
  if (told?.networkConfig !== undefined)
    check('network configuration', flawOfNetworkConfig(told.networkConfig));
  const config = told?.networkConfig ?? networkConfig(spec);
  return {
    'meta-data': JSON.stringify({
      // cloud-init does once for an id what is done once for a machine: it lasts as long as the disk
      'instance-id': `${spec.uid}-${shortHash(spec.root ?? spec.incarnation)}`,
      'local-hostname': spec.name,
      ...(told && told.sshKeys.length > 0 ? { 'public-keys': told.sshKeys } : {}),
    }),
    'user-data': told?.userData ?? '#cloud-config\n{}\n',
    ...(config === undefined ? {} : { 'network-config': config }),
  };
}
