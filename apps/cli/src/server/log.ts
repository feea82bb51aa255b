/** The program's own log: JSON lines on stdout, which `--detach` leads into `skerry.log` of the data folder. */
import { type Logger, pino } from 'pino';

export function createLogger(): Logger {
  return pino({
    level: process.env.SKERRY_LOG ?? 'info',
    base: null,
    redact: ['token', 'password', 'auth', '*.token', '*.password', '*.auth'],
  });
}
export type { Logger };
