/** Checks what goes into lines and scripts: nothing that is not of the expected form gets that far. */
import { isInterfaceAddress, isName, MOST_CARDS, SkerryError } from '@skerry/model';
import { type Subnet, toNumber } from './addressing.ts';
import { address6Of, type Subnet6 } from './addressing6.ts';
import type { AttachRequest } from './port.ts';

const isPort = (port: number): boolean => Number.isInteger(port) && port > 0 && port < 65536;

/** For a host that has no IPv6. */
export function withoutIpv6({ address6: _, ...rest }: AttachRequest): AttachRequest {
  return rest;
}

/** Errors: request_invalid, naming the field. */
export function checkRequest(request: AttachRequest, subnet: Subnet, subnet6: Subnet6 | undefined): void {
  const wrong = (field: string, value: unknown) =>
    new SkerryError('request_invalid', `${field} of the guest's interface is not valid: "${value}"`, {
      details: { field },
    });
  if (!/^[0-9a-z]{1,32}$/.test(request.uid)) throw wrong('uid', request.uid);
  if (!isName(request.hostname)) throw wrong('hostname', request.hostname);
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(request.mac)) throw wrong('mac', request.mac);
  if (!Number.isInteger(request.slot) || request.slot < 0 || request.slot >= 36 ** 3) {
    throw wrong('slot', request.slot);
  }
  for (const [index, { mac, address }] of (request.cards ?? []).entries()) {
    if (index >= MOST_CARDS) throw wrong('cards', index + 1);
    if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac)) throw wrong(`cards[${index}].mac`, mac);
    if (address !== undefined && !isInterfaceAddress(address))
      throw wrong(`cards[${index}].address`, address);
  }
  if (request.cards && request.kind !== 'tap') throw wrong('kind', request.kind);
  const place = toNumber(request.address) - toNumber(subnet.network);
  if (place < 2 || place >= subnet.slots + 2) throw wrong('address', request.address);
  // one of each for a guest: what the rules know it by, and what others reckon from its IPv4 address
  const { address6 } = request;
  if (address6 !== undefined && subnet6 && address6 !== address6Of(subnet6, subnet, request.address))
    throw wrong('address6', address6);
  const seen = new Set<string>();
  for (const { port, publish, protocol } of request.ports) {
    if (!isPort(port)) throw wrong('port', port);
    if (protocol !== 'tcp' && protocol !== 'udp') throw wrong('protocol', protocol);
    if (publish === undefined) continue;
    if (!isPort(publish)) throw wrong('publish', publish);
    const key = `${protocol} ${publish}`;
    if (seen.has(key)) {
      throw new SkerryError('port_taken', `the ${protocol} port ${publish} is published twice by one guest`, {
        details: { port: publish, protocol },
      });
    }
    seen.add(key);
  }
  for (const field of ['inBps', 'outBps'] as const) {
    const rate = request.bandwidth?.[field];
    if (rate !== undefined && !(Number.isInteger(rate) && rate >= 8000))
      throw wrong(`bandwidth.${field}`, rate);
  }
}
