/** The program's own log: JSON lines on stdout, which `--detach` leads into `skerry.log` of the data folder. */
import { type Logger, pino } from 'pino';

/** What waits to be written while it can not be, at most; beyond it lines are dropped. */
const WAITING_BYTES = 256 * 1024;

/** `fd`: where the lines go. A log that can not be written, as on a full disk, ends nothing: it goes on when there is room. */
export function createLogger(fd = 1): Logger {
  const destination = pino.destination({ fd, sync: true, maxLength: WAITING_BYTES });
  destination.on('error', () => undefined); // the place to tell it is the one that is full
  return pino(
    {
      level: process.env.SKERRY_LOG ?? 'info',
      base: null,
      redact: ['token', 'password', 'auth', '*.token', '*.password', '*.auth'],
    },
    destination,
  );
}
export type { Logger };
