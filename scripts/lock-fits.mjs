/**
 * Whether all that npm installed is what package-lock.json names: each package at its place, its version and its integrity.
 * A registry may have or lack optional packages of other platforms at any time; those are not held against the lock file.
 * Prints what differs, a line each, and exits with 1 then.
 */
import { readFileSync } from 'node:fs';

const packagesOf = (path) =>
  JSON.parse(readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')).packages;
const locked = packagesOf('package-lock.json');
const installed = packagesOf('node_modules/.package-lock.json');
const wordOf = ({ version, integrity }) => `${version} ${integrity ?? ''}`.trim();

const differences = [];
for (const [place, found] of Object.entries(installed)) {
  const named = locked[place];
  if (named === undefined) {
    if (!found.optional) differences.push(`${place} ${wordOf(found)} is not in package-lock.json`);
  } else if (!found.link && wordOf(found) !== wordOf(named))
    differences.push(`${place} is ${wordOf(found)}, package-lock.json names ${wordOf(named)}`);
}
for (const [place, named] of Object.entries(locked))
  if (place.startsWith('node_modules/') && !named.optional && installed[place] === undefined)
    differences.push(`${place} of package-lock.json was not installed`);
for (const difference of differences) process.stderr.write(`setup: ${difference}\n`);
process.exitCode = differences.length > 0 ? 1 : 0;
