/** What this folder asks of a logger: pino's shape, object first. */
export interface Logger {
  debug(context: object, text: string): void;
  info(context: object, text: string): void;
  warn(context: object, text: string): void;
}
