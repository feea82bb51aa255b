/** What a broker counts since it began. */
export interface Counts {
  connections: number;
  received: number;
  sent: number;
  /** By a limit of a session, or a device that does not read. */
  dropped: number;
  expired: number;
  /** Messages that were not permitted. */
  forbidden: number;
  /** Not retained, for a project has too many. */
  retainedRefused: number;
  /** Connections that ended for what they sent. */
  malformed: number;
  refusedConnections: number;
}
export const noCounts = (): Counts => ({
  ...{ connections: 0, received: 0, sent: 0, dropped: 0, expired: 0, forbidden: 0 },
  ...{ retainedRefused: 0, malformed: 0, refusedConnections: 0 },
});
