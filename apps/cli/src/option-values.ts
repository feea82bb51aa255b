/** What options take. A wrong value is told with the option that it was given to: commander adds the name. */
import { parseBandwidth, parseBytes, parseMillis, SkerryError } from '@skerry/model';
import { InvalidArgumentError, Option } from 'commander';

/** Errors: InvalidArgumentError in the words of `parse`. */
const told =
  <T>(parse: (text: string) => T) =>
  (text: string): T => {
    try {
      return parse(text);
    } catch (error) {
      if (error instanceof SkerryError) throw new InvalidArgumentError(error.message);
      throw error;
    }
  };

/** `5s` in milliseconds. */
export const durationOption = told((text): number => parseMillis(text));
/** `100Mbit` in bits a second. */
export const bandwidthOption = told((text): number => parseBandwidth(text));

/** `64MiB`, checked here and sent as it is written. */
export const sizeOption = told((text): string => {
  parseBytes(text);
  return text;
});

/** `--timeout`, whose default `--help` shows as it would be typed. */
export const timeoutOption = (about: string, usual: string, flag = '--timeout'): Option =>
  new Option(`${flag} <duration>`, about).argParser(durationOption).default(parseMillis(usual), usual);

const whole =
  (least: number, most: number) =>
  (text: string): number => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(
      most === Number.MAX_SAFE_INTEGER
        ? `It must be a whole number, ${least} or more.`
        : `It must be a whole number from ${least} to ${most}.`,
    );
  };

/** A number of things, from 0 on. */
export const countOption = whole(0, Number.MAX_SAFE_INTEGER);
/** The same, and not none. */
export const someOption = whole(1, Number.MAX_SAFE_INTEGER);
export const portOption = whole(1, 65535);

/** `0.3` and `30%` as a share. */
export function lossOption(text: string): number {
  const share = text.endsWith('%') ? Number(text.slice(0, -1)) / 100 : Number(text);
  if (text.trim() !== '' && share >= 0 && share <= 1) return share;
  throw new InvalidArgumentError('It must be a share of the packets, such as 0.3 or 30%.');
}
