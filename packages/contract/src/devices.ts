/**
 * What goes between a controller and the nodes about devices and streams. Each node has every device and stream of the edge
 * (a device may appear at any of them, also while the node is cut off), so they are told apart from the desired state:
 * change by change, resumed by the store's revision.
 */
import type { DeviceSpec, StreamSpec } from '@skerry/model';

/** How a device proves who it is; never the secret itself. */
export interface DeviceCredentials {
  /** scrypt: `scrypt$<N>$<r>$<p>$<salt base64>$<hash base64>`. */
  readonly password?: string;
  /** SHA-256 of its certificate, in hex, where only this one counts; else any that its project's authority signed. */
  readonly fingerprint?: string;
  /** Rises when they are made anew: connections that began with the former ones end. */
  readonly version: number;
}
export interface FeedDevice {
  readonly kind: 'device';
  readonly project: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly spec: DeviceSpec;
  readonly credentials: DeviceCredentials;
  /** Desired state of its shadow, JSON, and its version. */
  readonly desired?: { readonly version: number; readonly state: unknown };
  /** The node that has its session, as far as the controller knows. */
  readonly node?: string;
}
export interface FeedStream {
  readonly kind: 'stream';
  readonly project: string;
  readonly name: string;
  readonly uid: string;
  readonly generation: number;
  /** Whole, secrets included. */
  readonly spec: StreamSpec;
}
/** Of a project: the authority whose certificates its devices may show, and whether one that is not known yet is taken in. */
export interface FeedProject {
  readonly kind: 'project';
  readonly project: string;
  readonly name: string;
  readonly authorities: readonly string[];
  readonly enrolment: 'manual' | 'automatic';
}
export type FeedObject = FeedDevice | FeedStream | FeedProject;
/** `reset`: what was known is to be forgotten, all follows. `synced`: everything up to this revision was told. */
export type FeedItem =
  | { readonly type: 'reset' }
  | { readonly type: 'put'; readonly revision: number; readonly object: FeedObject }
  | {
      readonly type: 'delete';
      readonly revision: number;
      readonly kind: FeedObject['kind'];
      readonly project: string;
      readonly name: string;
    }
  | { readonly type: 'synced'; readonly revision: number };

/** What a node tells of them. Presence and counts stay in memory; a shadow's reported state is stored, seldom. */
export interface DeviceReport {
  /** The first one of several that tell all: a device of this node that none of them names is not connected there. */
  readonly fresh?: true;
  readonly devices: readonly {
    readonly project: string;
    readonly name: string;
    readonly connected: boolean;
    /** Milliseconds since its last packet. */
    readonly seenAgoMs: number;
    /** What it said of itself since the last report. `version` rises at the node. */
    readonly reported?: { readonly version: number; readonly state: unknown };
  }[];
  readonly streams: readonly {
    readonly project: string;
    readonly name: string;
    readonly received: number;
    readonly sent: number;
    readonly waiting: number;
    readonly dropped: number;
    readonly refused: number;
    readonly failing?: string;
  }[];
  /** A device that showed a certificate of its project's authority and is not known yet: asks to be taken in. */
  readonly enrol?: readonly {
    readonly project: string;
    readonly name: string;
    readonly fingerprint: string;
  }[];
  /** URLs at which devices reach this node. */
  readonly listening: readonly string[];
}

export interface SeriesQuery {
  readonly project: string;
  readonly series: string;
  readonly devices?: readonly string[];
  readonly fields?: readonly string[];
  /** Milliseconds since 1970; from included, to not. */
  readonly fromMs?: number;
  readonly toMs?: number;
  /** Of one point in the answer; absent: as they were stored. */
  readonly stepMs?: number;
  readonly aggregate?: 'mean' | 'min' | 'max' | 'sum' | 'count' | 'last';
  readonly limit?: number;
}
export interface SeriesPoint {
  readonly device: string;
  readonly field: string;
  readonly atMs: number;
  readonly value: number;
}

/** What is asked of a node's device program on demand. Each answers a stream of JSON values. */
export type HubCall =
  /** Values: `TailLine`. Ends with the signal. */
  | { readonly verb: 'stream-tail'; readonly project: string; readonly stream: string }
  /** Values: `{ name, devices, fields, points, fromMs, toMs, bytes }`. */
  | { readonly verb: 'series-list'; readonly project: string }
  /** Values: `SeriesPoint`. */
  | { readonly verb: 'series-query'; readonly query: SeriesQuery }
  /** Values: the last `SeriesPoint` of each device and field. */
  | { readonly verb: 'series-last'; readonly project: string; readonly series: string }
  /** Values: `{ data }`, base64 of a piece of the file. */
  | { readonly verb: 'series-export'; readonly query: SeriesQuery; readonly format: 'csv' | 'parquet' }
  /** Values: one `SessionState` or nothing. */
  | {
      readonly verb: 'session-take';
      readonly project: string;
      readonly device: string;
      readonly clientId: string;
    }
  | {
      readonly verb: 'session-taken';
      readonly project: string;
      readonly device: string;
      readonly clientId: string;
    }
  /** To a device that is connected there, or has a session there. */
  | {
      readonly verb: 'publish';
      readonly project: string;
      readonly topic: string;
      readonly payload: string;
      readonly qos: 0 | 1 | 2;
      readonly retain: boolean;
    };

/** One message at one place of a stream. */
export interface TailLine {
  readonly atMs: number;
  /** `from`, the number and kind of a step (`2 window`), or `to 1 mqtt`. */
  readonly place: string;
  readonly device: string;
  readonly topic: string;
  readonly id: string;
  /** As JSON; cut off after 1,000 characters. */
  readonly value: string;
  /** Why it went no further. */
  readonly refused?: string;
}
