/**
 * The command line of each family's kernel: how it wants to be told its address, its variables and its own words. Sources:
 * each project's documentation and what its kernels were seen to take; the guide to unikernels has an example of each. Pure.
 */
import type { Family } from '@skerry/images';
import { quoted, quotedPlainly, refuseEnv, type Told } from './told.ts';

type Words = (told: Told) => readonly string[];

/** Percent-escapes what would end a word of pebble's command line. */
const escaped = (text: string) => encodeURIComponent(text).replaceAll("'", '%27');

/** It knows no DHCP. */
const pebble: Words = ({ network, name, port, nowMs, seed, env, own }) => [
  ...(network ? [`ip=${network.address}/${network.prefixLength}`, `gw=${network.gateway}`] : []),
  `port=${port ?? 8080}`,
  `name=${name}`,
  `time=${nowMs}`,
  `seed=${seed}`,
  ...env.map(([key, value]) => `env.${key}=${escaped(value)}`),
  ...own,
];

/** `netdev.ip` is understood from 0.16.1 on; what is not known is taken for a new one. */
function isOldUnikraft(version: string | undefined): boolean {
  const match = /^(\d+)\.(\d+)\.(\d+)/.exec(version ?? '');
  if (!match) return false;
  const [major, minor, patch] = match.slice(1).map(Number) as [number, number, number];
  return major === 0 && (minor < 16 || (minor === 16 && patch < 1));
}

const unikraftAddress = ({ address, version }: Told): string[] => {
  if (!address) return [];
  const { gateway, dns, prefixLength } = address;
  return isOldUnikraft(version)
    ? [
        `netdev.ipv4_addr=${address.address}`,
        `netdev.ipv4_gw_addr=${gateway}`,
        `netdev.ipv4_subnet_mask=${address.netmask}`,
      ]
    : [`netdev.ip=${address.address}/${prefixLength}:${gateway}:${dns}`];
};

/**
 * `[kernel parameters] -- [application's words]`, behind the name of the kernel file, which QEMU puts before what a multiboot
 * kernel is told; a list is `name=[ "one" "two" ]`.
 */
const unikraft: Words = (told) => [
  ...unikraftAddress(told),
  ...(told.hasInitrd ? ['vfs.fstab=[ "initrd0:/:extract::ramfs=1:" ]'] : []),
  ...(told.env.length > 0
    ? [`env.vars=[ ${told.env.map(([key, value]) => quotedPlainly(`${key}=${value}`)).join(' ')} ]`]
    : []),
  '--',
  ...told.own.map(quotedPlainly),
];

/** Options first, then the program. Without an address it asks by DHCP. */
const osv: Words = ({ address, env, own }) => [
  ...(address
    ? [
        `--ip=eth0,${address.address},${address.netmask}`,
        `--defaultgw=${address.gateway}`,
        `--nameserver=${address.dns}`,
      ]
    : []),
  '--power-off-on-abort', // it would stand still for ever
  ...env.map(([key, value]) => quoted(`--env=${key}=${value}`)),
  ...own.map(quoted),
];

/** MirageOS takes its address among the words of the application (Cmdliner). */
const solo5: Words = (told) => {
  refuseEnv(told, 'solo5');
  const { address, own } = told;
  return [
    ...(address
      ? [`--ipv4=${address.address}/${address.prefixLength}`, `--ipv4-gateway=${address.gateway}`]
      : []),
    ...own.map(quoted),
  ];
};

const hermit: Words = ({ address, env, own }) => [
  ...(address ? ['-ip', address.address, '-mask', address.netmask, '-gateway', address.gateway] : []),
  ...env.map(([key, value]) => quoted(`env=${key}=${value}`)),
  ...(own.length > 0 ? ['--', ...own.map(quoted)] : []),
];

/** One JSON object, written by hand, for the key `env` may stand in it several times. */
const rumprun: Words = ({ address, env, own, name, network }) => {
  const text = (value: string) => JSON.stringify(value);
  const net = address
    ? `"method":"static","addr":${text(address.address)},"mask":"${address.prefixLength}","gw":${text(address.gateway)}`
    : '"method":"dhcp"';
  return [
    `{${[
      `"cmdline":${text([name, ...own.map(quoted)].join(' '))}`,
      ...env.map(([key, value]) => `"env":${text(`${key}=${value}`)}`),
      ...(network ? [`"net":{"if":"vioif0","type":"inet",${net}}`] : []),
    ].join(',')}}`,
  ];
};

const mewz: Words = (told) => {
  refuseEnv(told, 'mewz');
  const { address, own } = told;
  return [
    ...(address ? [`ip=${address.address}/${address.prefixLength}`, `gateway=${address.gateway}`] : []),
    ...own,
  ];
};

/**
 * docs.kernel.org/admin-guide/kernel-parameters.html and /nfs/nfsroot.html for `ip=`. What the kernel does not know as its
 * own becomes its init's environment. One that panics restarts, which ends its QEMU.
 */
const linux: Words = ({ address, name, env, own, arch }) => [
  `console=${arch === 'arm64' ? 'ttyAMA0' : 'ttyS0'}`,
  'panic=-1',
  ...(address
    ? [`ip=${address.address}::${address.gateway}:${address.netmask}:${name}:eth0:off:${address.dns}`]
    : []),
  ...env.map(([key, value]) => quotedPlainly(`${key}=${value}`)),
  ...own.map(quotedPlainly),
];

/** Nothing is known of how it is told anything: its own words alone. */
const plain =
  (family: Family): Words =>
  (told) => {
    refuseEnv(told, family);
    return told.own;
  };

const WORDS = {
  ...{ pebble, unikraft, osv, solo5, hermit, rumprun, mewz, linux },
  includeos: plain('includeos'),
  nanos: plain('nanos'),
  efi: plain('efi'),
  generic: plain('generic'),
} as const satisfies Record<Family, Words>;

/** Errors: unsupported for words or variables that the family can not be told. */
export const familyWords = (family: Family, told: Told): string => WORDS[family](told).join(' ').trim();
