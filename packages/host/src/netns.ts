/** Named network namespaces as ip-netns(8) keeps them: a bind mount per name under /run/netns. */
import { existsSync, readdirSync } from 'node:fs';

const FOLDER = '/run/netns';

export const netnsPath = (name: string): string => `${FOLDER}/${name}`;
export const netnsExists = (name: string): boolean => existsSync(netnsPath(name));

/** Names that begin with `prefix`; none where no namespace was ever named on this machine. */
export function listNetns(prefix: string): string[] {
  try {
    return readdirSync(FOLDER).filter((name) => name.startsWith(prefix));
  } catch {
    return [];
  }
}
