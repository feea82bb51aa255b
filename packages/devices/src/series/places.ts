/** Where things lie: a folder per project, in it a file per day (UTC) of the points' own time. Names can't lead elsewhere. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';

export const DAY_MS = 86_400_000;
const FILE = /^(\d{4}-\d{2}-\d{2})\.sqlite$/;

/** Letters, digits, `-` and `_` stay as they are; a name with anything else is known by its SHA-256, after a `%`. */
export const projectFolder = (folder: string, project: string): string =>
  join(
    folder,
    /^[A-Za-z0-9_-]{1,128}$/.test(project)
      ? project
      : `%${createHash('sha256').update(project).digest('hex')}`,
  );

export const dayOf = (atMs: number): string => new Date(atMs).toISOString().slice(0, 10);
export const dayStartMs = (day: string): number => Date.parse(`${day}T00:00:00Z`);
export const dayPath = (folder: string, day: string): string => join(folder, `${day}.sqlite`);
/** The day of a file by its name; undefined: it is something else. */
export const dayOfFile = (name: string): string | undefined => FILE.exec(name)?.[1];
