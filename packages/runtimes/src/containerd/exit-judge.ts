/** Why a container ended, from what is known of it. Pure, and so the same whether we watched or came later. */
import { constants } from 'node:os';
import { formatBytes, type GuestExit } from '@skerry/model';

export interface ExitFacts {
  /** Exit status as runc reports it: 128 + n for an end by signal n. */
  readonly code: number;
  readonly atMs: number;
  /** The kernel ended a process of the container for want of memory. */
  readonly outOfMemory: boolean;
  readonly memoryLimitBytes: number;
  /** Set when we asked it to stop before it ended. */
  readonly stop?: { readonly forced: boolean } | undefined;
}

/** `SIGTERM` of 15; undefined for a number that is no signal. */
export function signalName(number: number): string | undefined {
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0];
}

/** 15 of `SIGTERM`, `TERM` or `15`; undefined where it names no signal. */
export function signalNumber(name: string): number | undefined {
  if (/^\d{1,2}$/.test(name)) return Number(name) || undefined;
  const upper = name.toUpperCase();
  return constants.signals[(upper.startsWith('SIG') ? upper : `SIG${upper}`) as NodeJS.Signals];
}

export function judgeExit(facts: ExitFacts): GuestExit {
  const { code, atMs } = facts;
  const signal = code > 128 && code < 193 ? signalName(code - 128) : undefined;
  const base = { code, atMs, ...(signal === undefined ? {} : { signal }) };
  if (facts.stop?.forced && signal === 'SIGKILL') {
    return { ...base, reason: 'killed', message: 'was asked to stop, did not in time, and was forced' };
  }
  if (facts.stop) return { ...base, reason: 'stopped', message: `stopped when asked to (code ${code})` };
  if (facts.outOfMemory && code !== 0) {
    return {
      ...base,
      reason: 'oom',
      message: `used more than its ${formatBytes(facts.memoryLimitBytes)} of memory`,
    };
  }
  if (code === 0) return { ...base, reason: 'completed', message: 'ended by itself with code 0' };
  if (signal !== undefined) return { ...base, reason: 'signal', message: `was ended by ${signal}` };
  return { ...base, reason: 'error', message: `ended by itself with code ${code}` };
}

/** It is gone and nobody saw it end. */
export const vanished = (atMs: number): GuestExit => ({
  reason: 'vanished',
  message: 'is gone and nobody saw it end: the machine or its engine was restarted',
  atMs,
});
