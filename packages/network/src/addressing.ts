/**
 * The numbers of a node network: which address and which MAC a slot has. Pure.
 * The first address is the gateway (the bridge), the last is broadcast; a slot counts from 0.
 */
import { createHash } from 'node:crypto';
import type { Identity } from '@skerry/host';
import { SkerryError } from '@skerry/model';

export interface Subnet {
  readonly cidr: string;
  readonly network: string;
  readonly prefixLength: number;
  readonly netmask: string;
  readonly gateway: string;
  /** How many guests have room. */
  readonly slots: number;
}

export function toNumber(address: string): number {
  const parts = address.split('.').map(Number);
  if (parts.length !== 4 || parts.some((part) => !Number.isInteger(part) || part < 0 || part > 255)) {
    throw new SkerryError('request_invalid', `"${address}" is not an IPv4 address`);
  }
  return parts.reduce((sum, part) => sum * 256 + part, 0);
}

export const toAddress = (value: number): string =>
  [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');

/** Errors: request_invalid when it is no CIDR of IPv4 or has no room for guests. */
export function parseSubnet(cidr: string): Subnet {
  const [address = '', length = ''] = cidr.split('/');
  const prefixLength = Number(length);
  const size = 2 ** (32 - prefixLength);
  if (!/^\d{1,2}$/.test(length) || prefixLength < 8 || prefixLength > 29) {
    throw new SkerryError('request_invalid', `"${cidr}" is not a subnet: write it like 10.64.0.0/22`);
  }
  const network = toNumber(address);
  if (network % size !== 0) {
    throw new SkerryError(
      'request_invalid',
      `"${cidr}" is not a subnet: ${address} is not its first address`,
    );
  }
  return {
    cidr,
    network: address,
    prefixLength,
    netmask: toAddress(2 ** 32 - size),
    gateway: toAddress(network + 1),
    slots: size - 3,
  };
}

/** Errors: address_exhausted for a slot that the subnet has no room for. */
export function addressOfSlot(subnet: Subnet, slot: number): string {
  if (slot < 0 || slot >= subnet.slots) {
    throw new SkerryError(
      'address_exhausted',
      `the node network ${subnet.cidr} has room for ${subnet.slots}`,
    );
  }
  return toAddress(toNumber(subnet.network) + 2 + slot);
}

/** Locally administered (IEEE 802, second bit of the first byte), unique by identity and slot. */
export function macOfSlot(identity: Identity, slot: number): string {
  const hex = `02${identity.id.slice(0, 6)}${slot.toString(16).padStart(4, '0')}`;
  return (hex.match(/../g) ?? []).join(':');
}

/** Of the bridge: a slot that no guest can have. */
export const bridgeMac = (identity: Identity): string => macOfSlot(identity, 0xffff);

/** Of a card on a network that other nodes and machines share: drawn from the guest, so it stays where the guest moves. */
export function cardMac(uid: string, network: string): string {
  const bytes = createHash('sha256').update(`${uid} ${network}`).digest().subarray(0, 5);
  return ['02', ...Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0'))].join(':'); // locally administered
}
