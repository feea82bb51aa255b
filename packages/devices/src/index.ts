export { type BrokerOptions, createBroker } from './broker/broker.ts';
export { aboutSocket, webSockets } from './broker/listeners.ts';
export { FilterTree, isFilter, isTopic, matches } from './broker/topics.ts';
export { payloadOf } from './flow/encode.ts';
export { openFlow } from './flow/flow.ts';
export type * from './flow/parts.ts';
export { createGuestCaller, type GuestCaller } from './guests/caller.ts';
export { openControl } from './hub/control.ts';
export { Hub } from './hub/hub.ts';
export type { BrokerRequest, FlowRequest, HubParts, SeriesPart } from './hub/parts.ts';
export type * from './message.ts';
export * from './ports.ts';
export { openQueue } from './queue/queue.ts';
export type { SeriesSummary } from './series/reading.ts';
export {
  openSeries,
  type SeriesOptions,
  type SeriesSinkOptions,
  type SeriesStatus,
  type SeriesStore,
} from './series/store.ts';
export { type CompileOptions, checkStream, compileStream, type StreamFault } from './steps/compile.ts';
export type { AskGuest, GuestSpec } from './steps/guest-step.ts';
