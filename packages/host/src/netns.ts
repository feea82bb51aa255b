/** Named network namespaces as ip-netns(8) keeps them: a bind mount per name under /run/netns. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';

const FOLDER = '/run/netns';

export const netnsPath = (name: string): string => `${FOLDER}/${name}`;
export const netnsExists = (name: string): boolean => existsSync(netnsPath(name));

/** Whether the process is in the namespace of this name (namespaces(7): the same inode of the same device). */
export function isInNetns(name: string, pid: number): boolean {
  const [named, own] = [netnsPath(name), `/proc/${pid}/ns/net`].map((path) => {
    try {
      return statSync(path);
    } catch {
      return undefined;
    }
  });
  return named !== undefined && own !== undefined && named.ino === own.ino && named.dev === own.dev;
}

/** Tells our own network namespace from others (namespaces(7)): the kernel's settings of networks belong to it. */
export const ownNetns = (): string => String(statSync('/proc/self/ns/net').ino);

/** Whether an interface of the process's network namespace has this IPv6 address (proc_net(5): if_inet6), in 32 hex digits. */
export function hasIpv6(pid: number, hexDigits: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/net/if_inet6`, 'utf8').includes(hexDigits);
  } catch {
    return false;
  }
}

/**
 * Whether the process is the first of a container that has a network namespace of its own: it has the id 1 where it sees
 * itself (proc(5), NSpid), and is not in our network namespace.
 */
export function isContainerInit(pid: number): boolean {
  try {
    const ids = /^NSpid:\s+(.+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]?.split(/\s+/) ?? [];
    if (ids.length < 2 || ids.at(-1) !== '1') return false;
    return statSync(`/proc/${pid}/ns/net`).ino !== statSync('/proc/self/ns/net').ino;
  } catch {
    return false;
  }
}

/** Names that begin with `prefix`; none where no namespace was ever named on this machine. */
export function listNetns(prefix: string): string[] {
  try {
    return readdirSync(FOLDER).filter((name) => name.startsWith(prefix));
  } catch {
    return [];
  }
}
