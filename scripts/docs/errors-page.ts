/** docs/reference/errors.md: the error registry. */
import { ERRORS, type Retry } from '@skerry/model';
import { code, page, table } from './markdown.ts';

const RETRY: Readonly<Record<Retry, string>> = {
  never: 'never',
  'after-change': 'after a change',
  later: 'later, as it is',
};

export const errorsPage = (): string =>
  page(
    'Errors',
    'packages/model/src/errors.ts',
    'Every failure that Skerry shows has one of these codes. Over HTTP it is an RFC 9457 problem document (`application/problem+json`) whose `code` is the first column and whose `status` is the second; the command line prints the message, the remedy and the code, and ends with exit code 1 (2 for a command that was used wrongly).',
    '"Again" says when the same request may be sent once more.',
    table(
      ['code', 'status', 'again', 'what it means', 'what to do'],
      Object.entries(ERRORS).map(([name, { status, retry, title, remedy }]) => [
        code(name),
        String(status),
        RETRY[retry],
        title,
        remedy,
      ]),
    ),
  );
