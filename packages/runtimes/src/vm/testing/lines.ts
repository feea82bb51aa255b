/** What tests wait for of a virtual machine: its console's lines, its end. */
import type { GuestExit, Id } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import type { Runtime } from '../../port.ts';

const signal = new AbortController().signal;

export async function linesOf(runtime: Runtime, uid: Id<'instance'>): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of runtime.logs(uid, {}, signal)) lines.push(line.text);
  return lines;
}

/** Waits for a line of the console; returns all that are there by then. */
export function lineOf(runtime: Runtime, uid: Id<'instance'>, pattern: RegExp | string): Promise<string[]> {
  return eventually(`the console says ${pattern}`, async () => {
    const lines = await linesOf(runtime, uid);
    return lines.some((line) => line.match(pattern)) && lines;
  });
}

export function exitOf(runtime: Runtime, uid: Id<'instance'>): Promise<GuestExit> {
  return eventually('the guest ends', async () => {
    const state = await runtime.recover(uid, signal);
    return state.state === 'exited' && state.exit;
  });
}
