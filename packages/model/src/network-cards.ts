/** Further network cards of a virtual machine: what its manifest may say, and what holds where it says nothing. Pure. */

/** With the first one, the ports that a machine of eight has. */
export const MOST_CARDS = 7;

/** An IPv4 address that an interface can have, with the length of its prefix: `192.168.7.10/24`. */
export function isInterfaceAddress(text: string): boolean {
  const [, ip = '', length] = /^(\d{1,3}(?:\.\d{1,3}){3})\/(\d{1,2})$/.exec(text) ?? [];
  const bits = Number(length);
  const bytes = ip.split('.').map(Number);
  if (length === undefined || bits < 1 || bits > 32 || bytes.some((byte) => byte > 255)) return false;
  if (bytes[0] === 0 || bytes[0] === 127 || bytes[0]! >= 224) return false;
  const host = bytes.reduce((number, byte) => number * 256 + byte, 0) % 2 ** (32 - bits);
  return bits >= 31 || (host !== 0 && host !== 2 ** (32 - bits) - 1);
}
