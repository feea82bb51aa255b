/** What ends the device program without an agent: `skerry down`. */
export { endDeviceProgram } from './program.ts';
