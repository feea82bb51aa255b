/** What tests wait for of a virtual machine: its console's lines, its end. */
import type { GuestExit, Id } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import type { Runtime } from '../../port.ts';

/** An emulated machine beside others that are busy is slow. */
const LINE_LIMIT_MS = 110_000;

const signal = new AbortController().signal;

export async function linesOf(runtime: Runtime, uid: Id<'instance'>): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of runtime.logs(uid, {}, signal)) lines.push(line.text);
  return lines;
}

/** Waits for a line of the console; returns all that are there by then. */
export function lineOf(runtime: Runtime, uid: Id<'instance'>, pattern: RegExp | string): Promise<string[]> {
  const look = async () => {
    const lines = await linesOf(runtime, uid);
    return lines.some((line) => line.match(pattern)) && lines;
  };
  return eventually(`the console says ${pattern}`, look, { withinMs: LINE_LIMIT_MS });
}

export function exitOf(runtime: Runtime, uid: Id<'instance'>): Promise<GuestExit> {
  return eventually('the guest ends', async () => {
    const state = await runtime.recover(uid, signal);
    return state.state === 'exited' && state.exit;
  });
}
