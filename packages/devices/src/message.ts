/**
 * A message of a device, from the moment that the broker took it until a sink has it. `id` is given once, at the node that
 * took it, and travels with it to every sink: there a repetition is known by it.
 */
export interface Message {
  /** At most 64 characters of A-Z, a-z, 0-9, `.`, `_`, `-` and `/`. */
  readonly id: string;
  readonly project: string;
  readonly device: string;
  /** As the device said it, without the project. */
  readonly topic: string;
  /** When the node took it, in milliseconds since 1970. */
  readonly receivedAtMs: number;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly payload: Uint8Array;
  readonly contentType?: string;
}

/** A message on its way through the steps of a stream. */
export interface Item {
  /** Of the message; what a step makes of several has one of its own, which is the same whenever it is made again. */
  readonly id: string;
  readonly project: string;
  readonly device: string;
  readonly topic: string;
  /** When it happened, in milliseconds since 1970: as the message says, or when it arrived. */
  readonly atMs: number;
  /** What the payload says: of JSON its value; of bytes a Uint8Array. */
  readonly value: unknown;
}

/** What no step could take. It goes to the stream's dead letters with its reason, and is counted. */
export interface Refused {
  readonly item: Item;
  readonly step: string;
  readonly reason: string;
}
