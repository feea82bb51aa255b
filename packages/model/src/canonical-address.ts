/** One text for each address, as the kernel prints it: IPv6 by RFC 5952, IPv4 as it is. What is no address is returned as it is. */
export function canonicalAddress(address: string): string {
  if (!address.includes(':')) return address;
  try {
    return new URL(`http://[${address}]/`).hostname.slice(1, -1);
  } catch {
    return address;
  }
}
