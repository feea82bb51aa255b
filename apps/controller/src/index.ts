export type { Clock } from './clock.ts';
export { type Controller, type ControllerOptions, createController } from './controller.ts';
export type { Listening, ListenOptions } from './http/listeners.ts';
export type { Logger } from './logger.ts';
