/** What of an engine and its set-up the tests have not run on. It is expected to work, and said all the same. Pure. */
import type { CgroupMode } from '@skerry/host';
import type { EngineFacts } from './engine-facts.ts';

/** Debian 12's packages. */
export const PROVED = { docker: '20.10', podman: '4.3' } as const;

const numbers = (version: string): [number, number] => {
  const [major = 0, minor = 0] = version.split('.').map((part) => Number.parseInt(part, 10) || 0);
  return [major, minor];
};

/** Below the version that is proved: what it lacks is not known. */
export function isOlder({ flavour, version }: Pick<EngineFacts, 'flavour' | 'version'>): boolean {
  const [major, minor] = numbers(version);
  const [least, leastMinor] = numbers(PROVED[flavour]);
  return major < least || (major === least && minor < leastMinor);
}

export function unproved(facts: EngineFacts, groups: CgroupMode): string[] {
  const { flavour, version, rootless, cgroupfs, mapsUsers, storage } = facts;
  const proved = PROVED[flavour];
  const said: [boolean, string][] = [
    [numbers(version).join('.') !== proved, `its version (${proved} is)`],
    [rootless, 'an engine that runs without root'],
    [!cgroupfs, 'control groups made by systemd'],
    [groups === 'v2', 'control groups of version 2 alone'],
    [mapsUsers, 'users mapped by the engine'],
    [!storage.startsWith('overlay'), `storage by ${storage}`],
  ];
  return said.filter(([is]) => is).map(([, what]) => what);
}
