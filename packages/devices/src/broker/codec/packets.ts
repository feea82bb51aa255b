/** MQTT control packets as values: 3.1.1 (OASIS, 2014) and 5.0 (OASIS, 2019). What 3.1.1 does not have is absent there. */

/** Names as in MQTT 5.0, section 2.2.2.2. */
export interface Properties {
  payloadFormat?: number;
  messageExpiry?: number;
  contentType?: string;
  responseTopic?: string;
  correlationData?: Uint8Array;
  subscriptionIds?: number[];
  sessionExpiry?: number;
  assignedClientId?: string;
  serverKeepAlive?: number;
  authMethod?: string;
  authData?: Uint8Array;
  requestProblem?: number;
  willDelay?: number;
  requestResponse?: number;
  responseInformation?: string;
  serverReference?: string;
  reason?: string;
  receiveMaximum?: number;
  topicAliasMaximum?: number;
  topicAlias?: number;
  maximumQos?: number;
  retainAvailable?: number;
  user?: [string, string][];
  maximumPacketSize?: number;
  wildcardAvailable?: number;
  subscriptionIdsAvailable?: number;
  sharedAvailable?: number;
}

export type Qos = 0 | 1 | 2;
export interface Will {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly properties: Properties;
}
export interface Connect {
  readonly type: 'connect';
  /** 3: MQTT 3.1; 4: 3.1.1; 5: 5.0. */
  readonly version: 3 | 4 | 5;
  readonly cleanStart: boolean;
  readonly keepAliveSeconds: number;
  readonly clientId: string;
  readonly will?: Will;
  readonly username?: string;
  readonly password?: Uint8Array;
  readonly properties: Properties;
}
export interface Publish {
  readonly type: 'publish';
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly dup: boolean;
  /** 0 where QoS is 0. */
  readonly id: number;
  /** Absent: none; most messages have none. */
  readonly properties?: Properties;
}
export interface Acknowledge {
  readonly type: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp';
  readonly id: number;
  readonly reason: number;
}
export interface SubscriptionRequest {
  readonly filter: string;
  readonly qos: Qos;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
}
export interface Subscribe {
  readonly type: 'subscribe';
  readonly id: number;
  readonly subscriptions: readonly SubscriptionRequest[];
  readonly properties: Properties;
}
export interface Unsubscribe {
  readonly type: 'unsubscribe';
  readonly id: number;
  readonly filters: readonly string[];
}
export interface Disconnect {
  readonly type: 'disconnect';
  readonly reason: number;
  readonly properties: Properties;
}
export type Incoming =
  | Connect
  | Publish
  | Acknowledge
  | Subscribe
  | Unsubscribe
  | Disconnect
  | { readonly type: 'pingreq' }
  | { readonly type: 'auth' };

/** Reason codes of MQTT 5.0, section 2.4, that are used here. */
export const REASON = {
  success: 0x00,
  disconnectWithWill: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  unspecified: 0x80,
  malformed: 0x81,
  protocolError: 0x82,
  implementation: 0x83,
  unsupportedVersion: 0x84,
  badClientId: 0x85,
  badCredentials: 0x86,
  notAuthorized: 0x87,
  unavailable: 0x88,
  shuttingDown: 0x8b,
  badAuthMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  takenOver: 0x8e,
  badFilter: 0x8f,
  badTopic: 0x90,
  packetIdNotFound: 0x92,
  receiveMaximum: 0x93,
  badAlias: 0x94,
  tooLarge: 0x95,
  rate: 0x96,
  quota: 0x97,
  administrative: 0x98,
} as const;

/** What a client did against the protocol; its connection ends with this reason. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  readonly reason: number;
  constructor(reason: number, what: string) {
    super(what);
    this.reason = reason;
  }
}
