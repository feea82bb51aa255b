/** The device program's log: a JSON line each, as the agent's, to standard output. */
import type { Logger } from './parts.ts';

/** Of errors the words, never the cause: it may hold what others sent. */
function fieldsOf(fields: object): object {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, value instanceof Error ? value.message : value]),
  );
}

export function createLog(write: (line: string) => void): Logger {
  const log = (level: string) => (fields: object, msg: string) =>
    write(`${JSON.stringify({ level, time: Date.now(), ...fieldsOf(fields), msg })}\n`);
  return { info: log('info'), warn: log('warn'), error: log('error') };
}
