/** The pages of docs/reference that are made from code, by path. tests/house/docs.test.ts holds the files to it. */
import { cliPage } from './cli-page.ts';
import { errorsPage } from './errors-page.ts';
import { manifestPage } from './manifest-page.ts';
import { phasesPage } from './phases-page.ts';

export const referencePages = (): Readonly<Record<string, string>> => ({
  'docs/reference/cli.md': cliPage(),
  'docs/reference/errors.md': errorsPage(),
  'docs/reference/manifest.md': manifestPage(),
  'docs/reference/phases.md': phasesPage(),
});
