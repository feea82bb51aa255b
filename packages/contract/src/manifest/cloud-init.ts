/**
 * What cloud-init would pass over in silence, or tell on a console where nobody looks: user data that says that it is a
 * cloud-config and is none, a network configuration that can't be read. The text is not repeated: it may hold secrets. Pure.
 */
import { LineCounter, parseDocument } from 'yaml';

/** Aliases are copies: a few lines of nested ones would fill the memory. */
const MOST_ALIASES = 100;

/** What is wrong with it, as the end of a sentence; undefined: nothing. */
export function flawOfUserData(text: string): string | undefined {
  // what does not begin so is a script or something else that cloud-init knows: it need not be YAML
  return /^#cloud-config\s*$/.test(text.split('\n', 1)[0]!) ? flawOfMapping(text) : undefined;
}

/** Likewise. */
export const flawOfNetworkConfig = (text: string): string | undefined => flawOfMapping(text);

function flawOfMapping(text: string): string | undefined {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { prettyErrors: false, logLevel: 'silent', lineCounter });
  const [error] = document.errors;
  if (error) {
    const { line } = lineCounter.linePos(error.pos[0]);
    return `is not YAML in its line ${line}: ${error.code.toLowerCase().replaceAll('_', ' ')}`;
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: MOST_ALIASES });
  } catch {
    return `can not be read as YAML: its aliases lead nowhere, or to more than ${MOST_ALIASES} copies`;
  }
  const isMap = value === null || (typeof value === 'object' && !Array.isArray(value));
  return isMap ? undefined : 'is not a set of keys with values';
}
