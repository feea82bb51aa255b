/** Where skerry-log is: built beside the sources, and in the same place below an installation. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PLACE = 'packages/runtimes/native/build/skerry-log';

/** Looks from this file upwards; the last place looked at where it is nowhere, so that a message can name it. */
export function findLogProgram(from: string = fileURLToPath(import.meta.url)): string {
  let place = '';
  for (let folder = dirname(from); ; folder = dirname(folder)) {
    place = join(folder, PLACE);
    if (existsSync(place) || folder === dirname(folder)) return place;
  }
}
