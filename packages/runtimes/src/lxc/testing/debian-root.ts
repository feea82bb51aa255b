/**
 * A Debian root file system made by mmdebstrap from the packages that this machine is set up for, kept between runs in the
 * ignored folder of the sample. Undefined where it can not be made: no mmdebstrap, or no mirror.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const LIMIT_MS = 240_000;
/** Documents and words of other languages: nobody reads them here. */
const WITHOUT = '--dpkgopt=path-exclude=/usr/share/{doc,locale,man,info}/*';

export async function debianRoot(name: string, packages: readonly string[]): Promise<string | undefined> {
  const path = fileURLToPath(
    new URL(`../../../../../guests/system-debian/build/${name}.tar.zst`, import.meta.url),
  );
  if (existsSync(path)) return path;
  mkdirSync(dirname(path), { recursive: true });
  const fresh = `${path}.${process.pid}.tar.zst`;
  try {
    const args = [
      '--quiet',
      '--variant=minbase',
      WITHOUT,
      `--include=${packages.join(',')}`,
      'bookworm',
      fresh,
    ];
    await promisify(execFile)('mmdebstrap', args, { timeout: LIMIT_MS, cwd: '/' });
    renameSync(fresh, path);
    return path;
  } catch {
    rmSync(fresh, { force: true });
    return undefined;
  }
}
