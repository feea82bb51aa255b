/** Where a controller listens, and how a failed connection reads. */
import { asSkerryError, SkerryError } from '@skerry/model';

export type Endpoint =
  | { readonly socketPath: string }
  | {
      /** `https://host:port`; plain http only for a loopback address. */
      readonly url: string;
      readonly token: string;
      /** PEM of the authority that signed the server's certificate. */
      readonly ca?: string;
    };

export interface Target {
  readonly origin: string;
  readonly connect: { readonly socketPath?: string; readonly ca?: string };
  readonly headers: Readonly<Record<string, string>>;
  readonly name: string;
}

export function targetOf(endpoint: Endpoint): Target {
  if ('socketPath' in endpoint) {
    const { socketPath } = endpoint;
    return { origin: 'http://skerry', connect: { socketPath }, headers: {}, name: socketPath };
  }
  const url = URL.canParse(endpoint.url) ? new URL(endpoint.url) : undefined;
  const loopback = url && /^(127\.|localhost$|\[::1\]$)/.test(url.hostname);
  if (!url || (url.protocol !== 'https:' && !(url.protocol === 'http:' && loopback))) {
    throw new SkerryError(
      'request_invalid',
      `"${endpoint.url}" is no server address: write it like https://edge-1:7443`,
    );
  }
  return {
    origin: url.origin,
    connect: { ...(endpoint.ca && { ca: endpoint.ca }) },
    headers: { authorization: `Bearer ${endpoint.token}` },
    name: url.origin,
  };
}

/** A failure below HTTP as an error that says where nobody answered. */
export function connectionError(thrown: unknown, target: Target): SkerryError {
  if (thrown instanceof SkerryError) return thrown;
  const cause = thrown as { code?: string; message?: string; cause?: { code?: string } };
  const code = cause.code ?? cause.cause?.code ?? '';
  if (
    target.connect.socketPath !== undefined &&
    ['ENOENT', 'ECONNREFUSED', 'EACCES', 'EPERM'].includes(code)
  ) {
    return code.startsWith('E') && (code === 'EACCES' || code === 'EPERM')
      ? new SkerryError('forbidden', `the socket ${target.name} may not be opened by this user`, {
          cause: thrown,
        })
      : new SkerryError('not_running', `nobody listens on ${target.name}`, { cause: thrown });
  }
  if (thrown instanceof Error && thrown.name === 'AbortError') {
    return new SkerryError('cancelled', 'the request was given up', { cause: thrown });
  }
  if (/^(E[A-Z]+|UND_ERR_|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|ERR_TLS|ERR_SSL)/.test(code)) {
    return new SkerryError('unavailable', `${target.name} does not answer: ${cause.message ?? code}`, {
      cause: thrown,
    });
  }
  return asSkerryError(thrown);
}
