/** What a flow is made of. */
import type { StreamSink, StreamSpec } from '@skerry/model';
import type { Item, Message, Refused } from '../message.ts';
import type { DurableQueue, QueueOptions, Sink, Step, StepContext } from '../ports.ts';

export interface Compiled {
  decode(message: Message): Item | Refused;
  readonly steps: readonly Step[];
  /** Of the sink at this place in the stream. 0 to 9. */
  priority(sink: number): (item: Item) => number;
}

/** Others bring it. */
export interface FlowParts {
  openQueue(folder: string, options: QueueOptions): Promise<DurableQueue>;
  compile(spec: StreamSpec): Compiled;
  makeSink(spec: StreamSink): Sink;
  /** The same as long as the target is: its queue goes by it. */
  sinkKey(spec: StreamSink): string;
  device: StepContext['device'];
  /** To the stream's topic for what nobody could take. */
  deadLetter(topic: string, refused: Refused): void;
  now(): number;
}

export interface FlowOptions extends FlowParts {
  readonly folder: string;
  readonly project: string;
  readonly name: string;
  readonly spec: StreamSpec;
}
