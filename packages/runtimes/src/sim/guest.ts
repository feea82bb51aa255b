/**
 * A simulated guest as a function of its record and the time: so it goes on while no runtime looks, like a real one.
 *
 *   created --startedAtMs--> running --its own end, or endsAtMs after a stop--> exited
 */
import type { GuestExit, LogLine } from '@skerry/model';
import type { GuestSpec, GuestState } from '../port.ts';
import type { SimBehaviour } from './behaviour.ts';

export interface SimGuest {
  readonly spec: GuestSpec;
  readonly behaviour: SimBehaviour;
  readonly startedAtMs?: number;
  readonly pid?: number;
  /** Set when it was asked to stop, forced or killed from outside: how it ends, and when. */
  readonly end?: GuestExit;
  /** Its end was told to those who listen. */
  readonly told?: boolean;
}

/** The end that is in store for it, in the past or the future; undefined where it runs until it is stopped. */
export function endOf(guest: SimGuest): GuestExit | undefined {
  const { behaviour, startedAtMs, end } = guest;
  if (startedAtMs === undefined) return undefined;
  const { exitAfterMs, exitCode: code, exitReason } = behaviour;
  if (exitAfterMs === undefined) return end;
  const atMs = startedAtMs + exitAfterMs;
  if (end && end.atMs <= atMs) return end;
  const reason = exitReason ?? (code === 0 ? 'completed' : 'error');
  return { reason, code, message: `ended by itself with code ${code}`, atMs };
}

export function stateOf(guest: SimGuest | undefined, nowMs: number): GuestState {
  if (!guest) return { state: 'absent' };
  const { incarnation } = guest.spec;
  const { startedAtMs, pid } = guest;
  if (startedAtMs === undefined || pid === undefined) return { state: 'created', incarnation };
  const exit = endOf(guest);
  if (exit && exit.atMs <= nowMs) return { state: 'exited', incarnation, exit };
  return { state: 'running', incarnation, pid, startedAtMs };
}

/** Number of lines that it has written until `nowMs`. */
export function lineCount(guest: SimGuest, nowMs: number): number {
  const { startedAtMs, behaviour } = guest;
  if (startedAtMs === undefined || behaviour.logEveryMs === undefined) return 0;
  const until = Math.min(nowMs, endOf(guest)?.atMs ?? nowMs);
  return Math.max(0, Math.floor((until - startedAtMs) / behaviour.logEveryMs));
}

export function lineAt(guest: SimGuest, number: number): LogLine {
  const atMs = guest.startedAtMs! + (number + 1) * guest.behaviour.logEveryMs!;
  return { atMs, stream: 'stdout', text: `tick ${number + 1}` };
}
