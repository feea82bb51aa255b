/** A stream's manifest as steps that run; and what is wrong with one that a schema can not tell. */
import { createHash } from 'node:crypto';
import { parseMillis, type StreamSpec, type StreamStep } from '@skerry/model';
import type { Compiled } from '../flow/parts.ts';
import type { Item } from '../message.ts';
import type { Step } from '../ports.ts';
import { decode } from './decode.ts';
import { compileExpression } from './expression.ts';
import { type AskGuest, type GuestSpec, guestStep } from './guest-step.ts';
import { anomalyStep, thresholdStep } from './judge.ts';
import { dedupeStep, filterStep, joinStep, mapStep, schemaStep } from './plain-steps.ts';
import { sparkplugStep } from './sparkplug.ts';
import { windowStep } from './window.ts';

export interface CompileOptions {
  readonly project: string;
  readonly stream: string;
  /** Name of the node: what two nodes make of the same window are two messages. */
  readonly node: string;
  guest(spec: GuestSpec): AskGuest;
}

function compileStep(step: StreamStep, at: number, options: CompileOptions): Step {
  if ('filter' in step) return filterStep(step.filter);
  if ('map' in step) return mapStep(step.map);
  if ('window' in step) {
    const place = `${options.node}/${options.project}/${options.stream}/${at}`;
    return windowStep(step.window, {
      tag: `w${createHash('sha256').update(place).digest('hex').slice(0, 12)}`,
    });
  }
  if ('dedupe' in step) return dedupeStep(step.dedupe);
  if ('threshold' in step) return thresholdStep(step.threshold);
  if ('anomaly' in step) return anomalyStep(step.anomaly);
  if ('join' in step) return joinStep(step.join);
  if ('sparkplug' in step) return sparkplugStep();
  if ('schema' in step) return schemaStep(step.schema);
  return guestStep(step.guest, options.guest(step.guest));
}

/** 0 to 9 by an expression of simple comparisons and fields; evaluated as all others are, ahead of the queue. */
function priorityOf(text: string | undefined): (item: Item) => number {
  if (text === undefined) return () => 0;
  const number = Number(text);
  return Number.isInteger(number) ? () => Math.min(9, Math.max(0, number)) : () => 0;
}

/** Errors: Error of the first thing that is wrong. */
export function compileStream(spec: StreamSpec, options: CompileOptions): Compiled {
  return {
    decode: (message) => decode(message, spec),
    steps: (spec.steps ?? []).map((step, at) => compileStep(step, at, options)),
    priority: (sink) => priorityOf(spec.to[sink]?.queue?.priority),
  };
}

export interface StreamFault {
  /** As in a manifest: `spec.steps[0].filter`. */
  readonly path: string;
  readonly message: string;
}

function stepFault(step: StreamStep): { path: string; message: string } | undefined {
  if ('window' in step) {
    const { every, slide, session } = step.window;
    if ((every === undefined) === (session === undefined))
      return { path: '.window', message: 'takes one of every and session' };
    if (slide !== undefined && every === undefined)
      return { path: '.window.slide', message: 'goes with every' };
    const zero = Object.entries({ every, slide, session }).find(
      ([, text]) => text !== undefined && parseMillis(text) < 1,
    );
    if (zero) return { path: `.window.${zero[0]}`, message: 'is at least 1ms' };
    if (slide !== undefined && parseMillis(every!) / parseMillis(slide) > 100)
      return { path: '.window.slide', message: 'is at least a hundredth of every' };
  }
  if ('threshold' in step) {
    const { above, below } = step.threshold;
    if (above === undefined && below === undefined)
      return { path: '.threshold', message: 'takes above, below or both' };
    if (above !== undefined && below !== undefined && below > above)
      return { path: '.threshold.below', message: 'is not higher than above' };
  }
  const kind = Object.keys(step)[0]!;
  const expression = 'filter' in step ? step.filter : 'map' in step ? step.map : undefined;
  try {
    if (expression !== undefined) compileExpression(expression);
    if ('dedupe' in step && step.dedupe.by !== undefined) compileExpression(step.dedupe.by);
    if ('schema' in step) schemaStep(step.schema);
  } catch (error) {
    return { path: `.${kind}`, message: (error as Error).message };
  }
  return undefined;
}

/** What the schema of a manifest can not tell. */
export function checkStream(spec: StreamSpec): StreamFault[] {
  const steps = (spec.steps ?? []).flatMap((step, at) => {
    const fault = stepFault(step);
    return fault ? [{ path: `spec.steps[${at}]${fault.path}`, message: fault.message }] : [];
  });
  const { topics, streams } = spec.from;
  const from =
    topics === undefined && !streams
      ? [{ path: 'spec.from', message: 'takes topics, or streams: true, or both' }]
      : [];
  const priorities = spec.to.flatMap(({ queue }, at) =>
    queue?.priority !== undefined && !/^[0-9]$/.test(queue.priority)
      ? [{ path: `spec.to[${at}].queue.priority`, message: 'is a number from 0 to 9' }]
      : [],
  );
  return [...from, ...steps, ...priorities];
}
