/** Label selectors: `app=web`, `tier!=test`, `canary` (has it), `!old` (has it not); with commas, all of them. Pure. */
import { SkerryError } from '@skerry/model';

type Labels = Readonly<Record<string, string>>;

/** Errors: request_invalid. */
export function parseSelector(text: string | undefined): (labels: Labels) => boolean {
  if (text === undefined || text.trim() === '') return () => true;
  const tests = text.split(',').map((part) => {
    const match = /^\s*(!?)([A-Za-z0-9][A-Za-z0-9._/-]*)\s*(?:(!?=)=?\s*([^=!]*?))?\s*$/.exec(part);
    if (!match || (match[1] === '!' && match[3])) {
      throw new SkerryError(
        'request_invalid',
        `query parameter selector: "${part}" is none: write it like app=web,!old`,
      );
    }
    const [, not, label, operator, value] = match as unknown as [string, string, string, string?, string?];
    if (operator === undefined) return (labels: Labels) => Object.hasOwn(labels, label) !== (not === '!');
    return (labels: Labels) => (labels[label] === value) === (operator === '=');
  });
  return (labels) => tests.every((test) => test(labels));
}
