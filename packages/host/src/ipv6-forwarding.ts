/**
 * Whether the kernel has IPv6, and whether it forwards it. That is one setting for the whole machine, and to write it changes
 * those of every interface and forgets the default routes that routers have told of (ip-sysctl: conf/all/forwarding,
 * accept_ra): here every other interface keeps what it had, so a host that learns its way from a router goes on to.
 */
import { readdirSync } from 'node:fs';
import { readSysctl, writeSysctl } from './sysctl.ts';

const CONF = 'net/ipv6/conf';
const FORWARDING = `${CONF}/all/forwarding`;
/** Listens to routers though it forwards: only so does the kernel keep what they told. */
const ACCEPT_ALWAYS = '2';

/** False where it was built or booted without, or was turned off for all or for new interfaces. */
export const ipv6Works = (): boolean =>
  readSysctl(`${CONF}/all/disable_ipv6`) === '0' && readSysctl(`${CONF}/default/disable_ipv6`) === '0';

/** `0` or `1`; undefined: the kernel has no IPv6. */
export const ipv6Forwarding = (): string | undefined => readSysctl(FORWARDING);

function interfaceNames(): string[] {
  try {
    return readdirSync(`/proc/sys/${CONF}`).filter((name) => name !== 'all');
  } catch {
    return [];
  }
}

/** Of an interface that may be gone by now. */
function put(name: string, setting: string, value: string): void {
  if (readSysctl(`${CONF}/${name}/${setting}`) !== undefined)
    writeSysctl(`${CONF}/${name}/${setting}`, value);
}

/** Errors: host_missing where it can not be written. */
export function setIpv6Forwarding(value: '0' | '1'): void {
  const own = interfaceNames().map((name) => ({
    name,
    forwarding: readSysctl(`${CONF}/${name}/forwarding`) ?? '0',
    acceptRa: readSysctl(`${CONF}/${name}/accept_ra`) ?? '0',
  }));
  const listening = own.filter(({ forwarding, acceptRa }) => forwarding === '0' && acceptRa === '1');
  if (value === '1') for (const { name } of listening) put(name, 'accept_ra', ACCEPT_ALWAYS);
  try {
    writeSysctl(FORWARDING, value);
  } finally {
    for (const { name, forwarding } of own) put(name, 'forwarding', forwarding);
    for (const { name, acceptRa } of own) put(name, 'accept_ra', acceptRa);
  }
}
