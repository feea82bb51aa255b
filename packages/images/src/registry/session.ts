/**
 * Requests to one registry (the OCI distribution specification): token and basic authentication as the registry asks for
 * it, retries with growing pauses, HTTPS unless the host is this machine or the caller asked for less.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { SkerryError } from '@skerry/model';
import { Agent, type Dispatcher, request } from 'undici';

export interface Credentials {
  readonly username: string;
  readonly password: string;
}
export interface SessionOptions {
  readonly registry: string;
  readonly repository: string;
  readonly insecure: boolean;
  readonly auth?: Credentials;
  readonly signal: AbortSignal;
  /** The first pause between tries. */
  readonly retryPauseMs: number;
}
export type Answer = Dispatcher.ResponseData;

/** A request that fails is sent so often again, after pauses that triple. */
const RETRIES = 3;
const TOKEN_LIMIT_BYTES = 256 * 1024;
const REDIRECT_LIMIT = 5;

const isLoopback = (host: string) => /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/.test(host);

/** `Bearer realm="…",service="…"` as its parts. */
export function parseChallenge(header: string): { scheme: string; parameters: Record<string, string> } {
  const [scheme = ''] = header.trim().split(/\s+/, 1);
  const parameters: Record<string, string> = {};
  for (const match of header.slice(scheme.length).matchAll(/([A-Za-z_]+)=(?:"([^"]*)"|([^\s,]+))/g)) {
    parameters[match[1]!.toLowerCase()] = match[2] ?? match[3] ?? '';
  }
  return { scheme: scheme.toLowerCase(), parameters };
}

export class RegistrySession {
  readonly name = 'the registry';
  readonly #options: SessionOptions;
  readonly #base: string;
  readonly #agent: Agent;
  #authorization: string | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    const host = options.registry === 'docker.io' ? 'registry-1.docker.io' : options.registry;
    const plain = isLoopback(host) || options.insecure;
    this.#base = `${plain ? 'http' : 'https'}://${host}/v2/${options.repository}`;
    this.#agent = new Agent({
      connections: 6,
      connect: { timeout: 10_000 },
      headersTimeout: 30_000,
      bodyTimeout: 60_000,
    });
  }

  get retryPauseMs(): number {
    return this.#options.retryPauseMs;
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }

  /** A GET below the repository. Errors: registry_unavailable, image_not_found, unauthenticated, cancelled. */
  async get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
    for (let attempt = 0; ; attempt++) {
      const answer = await this.#once(`${this.#base}/${path}`, headers).catch((error) =>
        this.#retryable(error, attempt),
      );
      if (answer && answer.statusCode < 400) return answer;
      if (answer) {
        await answer.body.dump();
        if (answer.statusCode === 404)
          throw new SkerryError(
            'image_not_found',
            `${this.#options.registry} has no ${this.#options.repository} ${path}`,
          );
        if (answer.statusCode === 401 || answer.statusCode === 403) {
          throw new SkerryError(
            'unauthenticated',
            `${this.#options.registry} does not let this caller read ${this.#options.repository}`,
          );
        }
        if ((answer.statusCode < 500 && answer.statusCode !== 429) || attempt >= RETRIES) {
          throw new SkerryError(
            'registry_unavailable',
            `${this.#options.registry} answers ${answer.statusCode} to ${path}`,
            { details: { status: answer.statusCode } },
          );
        }
      }
      const { retryPauseMs, signal } = this.#options;
      await pause(retryPauseMs * 3 ** attempt, undefined, { signal });
    }
  }

  #retryable(error: unknown, attempt: number): undefined {
    if (this.#options.signal.aborted)
      throw new SkerryError('cancelled', 'the pull was cancelled', { cause: error });
    if (error instanceof SkerryError) throw error;
    if (attempt < RETRIES) return undefined;
    throw new SkerryError(
      'registry_unavailable',
      `${this.#options.registry} can not be reached: ${(error as Error).message}`,
      { cause: error },
    );
  }

  async #once(url: string, headers: Record<string, string>): Promise<Answer> {
    const { answer, elsewhere } = await this.#send(url, headers, this.#authorization);
    // Only the registry itself may ask for credentials, not a host that it sends us to.
    if (answer.statusCode !== 401 || elsewhere) return answer;
    const challenge = answer.headers['www-authenticate'];
    await answer.body.dump();
    this.#authorization = await this.#authorize(
      String(Array.isArray(challenge) ? challenge[0] : (challenge ?? '')),
    );
    return (await this.#send(url, headers, this.#authorization)).answer;
  }

  async #send(
    url: string,
    headers: Record<string, string>,
    authorization: string | undefined,
  ): Promise<{ answer: Answer; elsewhere: boolean }> {
    const { origin } = new URL(url);
    for (let hops = 0, at = url, elsewhere = false; ; hops++) {
      const answer = await request(at, {
        dispatcher: this.#agent,
        signal: this.#options.signal,
        // Blobs often lie at another host: our credentials are none of its business.
        headers: { ...headers, ...(authorization && !elsewhere ? { authorization } : {}) },
      });
      const location = answer.headers.location;
      if (answer.statusCode < 300 || answer.statusCode >= 400 || !location || hops >= REDIRECT_LIMIT)
        return { answer, elsewhere };
      await answer.body.dump();
      const next = new URL(String(location), at);
      if (next.protocol !== 'https:' && new URL(at).protocol === 'https:')
        throw new SkerryError(
          'registry_unavailable',
          `${this.#options.registry} sends its content over plain HTTP from ${next.host}`,
        );
      elsewhere ||= next.origin !== origin;
      at = next.href;
    }
  }

  async #authorize(header: string): Promise<string> {
    const { auth, registry, repository, signal } = this.#options;
    const basic = auth && `Basic ${Buffer.from(`${auth.username}:${auth.password}`).toString('base64')}`;
    const { scheme, parameters } = parseChallenge(header);
    if (scheme === 'basic') {
      if (!basic) throw new SkerryError('unauthenticated', `${registry} asks for a user name and a password`);
      return basic;
    }
    const realm = parameters.realm;
    if (scheme !== 'bearer' || !realm || !URL.canParse(realm)) {
      throw new SkerryError(
        'registry_unavailable',
        `${registry} asks for an authentication that is not known: ${scheme || 'none named'}`,
      );
    }
    const url = new URL(realm);
    if (basic && url.protocol !== 'https:' && !isLoopback(url.host)) {
      throw new SkerryError(
        'registry_unavailable',
        `${registry} asks for the password over plain HTTP at ${url.host}`,
      );
    }
    if (parameters.service) url.searchParams.set('service', parameters.service);
    url.searchParams.set('scope', parameters.scope ?? `repository:${repository}:pull`);
    const answer = await request(url, {
      dispatcher: this.#agent,
      signal,
      headers: basic ? { authorization: basic } : {},
    });
    if (answer.statusCode !== 200) {
      await answer.body.dump();
      throw new SkerryError(
        'unauthenticated',
        `${url.host} gives no token for ${repository} (${answer.statusCode})`,
      );
    }
    const text = await limitedText(answer, TOKEN_LIMIT_BYTES);
    const reply = parseReply(text);
    const token = reply.token ?? reply.access_token;
    if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token))
      throw new SkerryError('registry_unavailable', `${url.host} gives an answer without a token`);
    return `Bearer ${token}`;
  }
}

function parseReply(text: string): { token?: unknown; access_token?: unknown } {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

/** A body as text, refused over the limit. Errors: registry_unavailable. */
export async function limitedText(answer: Answer, limitBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limitBytes) {
      answer.body.destroy();
      throw new SkerryError(
        'registry_unavailable',
        `the registry sends a document of more than ${limitBytes} bytes`,
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
