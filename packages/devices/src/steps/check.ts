/** The face of the pure part of streams: what a controller checks before it accepts one. Loads no broker and no database. */
export { checkStream, type StreamFault } from './compile.ts';
