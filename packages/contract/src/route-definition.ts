/** What a row of the route table says. Types only. */
export interface RouteDefinition {
  readonly method: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';
  /** RFC 6570 level 1: `{name}` stands for one path segment, percent-encoded. */
  readonly path: string;
  readonly summary: string;
  /**
   * `json`: one document. `lines`: a stream of JSON lines (application/x-ndjson). `socket`: a WebSocket (RFC 6455).
   */
  readonly answer: 'json' | 'lines' | 'socket';
  /** `json` where absent. `text`: manifests as YAML or JSON. `bytes`: a file as it is. */
  readonly sends?: 'json' | 'text' | 'bytes';
  /** With `?watch=true` it streams server-sent events and resumes from `?since=`. */
  readonly watch?: true;
  /** It changes one resource and honours If-Match and If-None-Match. */
  readonly conditional?: true;
  /** Status of the usual answer; 200 where absent. */
  readonly status?: 201 | 202;
  /** Answered without a token. */
  readonly open?: true;
}
