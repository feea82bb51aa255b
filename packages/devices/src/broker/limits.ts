/** Bounds of what devices can make a broker hold. */
export interface BrokerLimits {
  /** Of a packet, where a device has no smaller one of its own. */
  readonly packetBytes: number;
  readonly connections: number;
  /** Of a project. */
  readonly retainedMessages: number;
  readonly retainedBytes: number;
  /** Of a session. */
  readonly subscriptions: number;
  readonly queuedMessages: number;
  readonly queuedBytes: number;
  /** QoS 1 and 2 on the way to a device, and from it, not acknowledged. */
  readonly inFlight: number;
  readonly topicAliases: number;
  /** Bytes on the way to a device that does not read: beyond it QoS 0 is dropped, the others wait. */
  readonly unsentBytes: number;
  /** Until CONNECT must have come. */
  readonly connectMs: number;
  /** A session that is away is kept no longer, whatever its device asks for. */
  readonly sessionSeconds: number;
}
export const BROKER_LIMITS: BrokerLimits = {
  packetBytes: 256 * 1024,
  connections: 20_000,
  retainedMessages: 10_000,
  retainedBytes: 16 * 2 ** 20,
  subscriptions: 100,
  queuedMessages: 1000,
  queuedBytes: 4 * 2 ** 20,
  inFlight: 64,
  topicAliases: 32,
  unsentBytes: 2 ** 20,
  connectMs: 10_000,
  sessionSeconds: 7 * 24 * 3600,
};
