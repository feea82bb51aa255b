/** What a guest with its own kernel is told when it starts, in no family's words yet. */
import { SkerryError } from '@skerry/model';
import type { GuestSpec } from '../../port.ts';

export interface ToldAddress {
  readonly address: string;
  readonly prefixLength: number;
  readonly netmask: string;
  readonly gateway: string;
  readonly dns: string;
}

export interface Told {
  readonly name: string;
  /** Absent: it has no network. */
  readonly network?: ToldAddress;
  /** Absent as well where it asks for its address by DHCP. */
  readonly address?: ToldAddress;
  /** Its own words: the command and its arguments. */
  readonly own: readonly string[];
  readonly env: readonly (readonly [key: string, value: string])[];
  /** First TCP port. */
  readonly port: number | undefined;
  readonly hasInitrd: boolean;
  readonly arch: 'amd64' | 'arm64';
  /** Of the kernel, as its image tells. */
  readonly version: string | undefined;
  readonly nowMs: number;
  /** 32 random bytes in hex. */
  readonly seed: string;
}

export function netmask(prefixLength: number): string {
  const bits = prefixLength === 0 ? 0 : (0xffffffff << (32 - prefixLength)) >>> 0;
  return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 255).join('.');
}

export interface ImageWords {
  /** What the image itself says: used where the manifest says nothing. */
  readonly command?: readonly string[];
  /** `KEY=VALUE` */
  readonly env?: readonly string[];
  readonly version?: string;
  readonly hasInitrd?: boolean;
  readonly arch?: 'amd64' | 'arm64';
}

/** A word with a zero byte or a line end would end the command line early. */
const UNTELLABLE = /[\0\n\r]/;

/** Errors: unsupported for what no command line can carry. */
export function toldOf(spec: GuestSpec, image: ImageWords, chance: Pick<Told, 'nowMs' | 'seed'>): Told {
  const { network } = spec;
  const address = network && { ...network, netmask: netmask(network.prefixLength) };
  const given = [...(spec.command ?? []), ...(spec.args ?? [])];
  // As with containers: a command of the manifest stands for all of the image's own words.
  const own = given.length > 0 ? given : [...(image.command ?? [])];
  const imageEnv = (image.env ?? []).map((text) => {
    const at = text.indexOf('=');
    return [at < 0 ? text : text.slice(0, at), at < 0 ? '' : text.slice(at + 1)] as const;
  });
  const env = [...new Map([...imageEnv, ...Object.entries(spec.env)])];
  return {
    name: spec.name,
    ...(address ? { network: address } : {}),
    ...(address && spec.addressing === 'static' ? { address } : {}),
    ...{ own, env, ...chance },
    port: spec.ports.find(({ protocol }) => protocol === 'tcp')?.port,
    hasInitrd: image.hasInitrd ?? false,
    arch: image.arch ?? 'amd64',
    version: image.version,
  };
}

/** Errors: unsupported naming the word. */
export function checkWords(words: string, name: string): string {
  if (UNTELLABLE.test(words))
    throw new SkerryError(
      'unsupported',
      `${name} can not be told its command line: it has a line end or a zero byte in it`,
    );
  return words;
}

/** In double quotes where a blank would end the word; what is special inside of them is escaped. */
export const quoted = (word: string): string =>
  /^[^\s"'\\]+$/.test(word) ? word : `"${word.replace(/["\\]/g, '\\$&')}"`;

/** In quotes for kernels that know no escapes. Errors: unsupported for a word with a quote in it. */
export function quotedPlainly(word: string): string {
  if (/^[^\s"']+$/.test(word)) return word;
  const mark = word.includes('"') ? "'" : '"';
  if (word.includes(mark))
    throw new SkerryError(
      'unsupported',
      `the word ${JSON.stringify(word)} has both kinds of quotes: this family of kernels can not be told it`,
    );
  return `${mark}${word}${mark}`;
}

/** Errors: unsupported where there are variables and the family has no way to be told. */
export function refuseEnv({ env, name }: Told, family: string): void {
  if (env.length > 0)
    throw new SkerryError(
      'unsupported',
      `${name} has environment variables (${env.map(([key]) => key).join(', ')}), which a guest of the family ${family} can not be told: give it arguments`,
    );
}
