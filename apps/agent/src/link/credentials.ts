/**
 * What an agent knows its controller by, and is known by: `<dataDir>/agent/`, readable by its owner only. The key is made
 * here and never leaves the machine; the certificate for it is got once with a token and then renewed over the session.
 * Nodes that are simulated keep theirs in memory.
 */
import 'reflect-metadata';
import { createHash, webcrypto, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { connect, type DetailedPeerCertificate } from 'node:tls';
import * as x509 from '@peculiar/x509';
import { fromProblem } from '@skerry/contract';
import { writeFileDurably } from '@skerry/host';
import { SkerryError } from '@skerry/model';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const LIMIT_MS = 15_000;

export interface Credentials {
  readonly node: string;
  /** `host:port` */
  readonly server: string;
  /** The network that the controller chose for its guests, where it did. */
  readonly subnet?: string;
  readonly key: string;
  readonly certificate: string;
  readonly authority: string;
}

/** Small texts by name; what was written is there after the next power cut. */
export interface CredentialKeep {
  read(name: string): string | undefined;
  write(name: string, text: string): void;
}
/** A data folder, or what stands for one. */
export type CredentialPlace = string | CredentialKeep;

function keepOf(place: CredentialPlace): CredentialKeep {
  if (typeof place !== 'string') return place;
  const folder = join(place, 'agent');
  return {
    read: (name) => (existsSync(join(folder, name)) ? readFileSync(join(folder, name), 'utf8') : undefined),
    write(name, text) {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      writeFileDurably(join(folder, name), text);
    },
  };
}

/** Undefined where this data folder has not joined. */
export function readCredentials(place: CredentialPlace): Credentials | undefined {
  const keep = keepOf(place);
  const about = keep.read('agent.json');
  if (about === undefined) return undefined;
  const { node, server, subnet } = JSON.parse(about) as Pick<Credentials, 'node' | 'server' | 'subnet'>;
  const read = (name: string) => {
    const text = keep.read(name);
    if (text === undefined)
      throw new SkerryError('data_folder_invalid', `agent/${name} is gone: join anew with another token`);
    return text;
  };
  const files = { key: read('node.key'), certificate: read('node.crt'), authority: read('ca.crt') };
  return { node, server, ...(subnet !== undefined && { subnet }), ...files };
}

export function writeCertificate(place: CredentialPlace, certificate: string): void {
  keepOf(place).write('node.crt', certificate);
}

/** Milliseconds until a third of its life is left. */
export function renewInMs(certificate: string, nowMs: number): number {
  const { validFrom, validTo } = new X509Certificate(certificate);
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)];
  return Math.max(0, to - (to - from) / 3 - nowMs);
}

interface Token {
  readonly server: string;
  readonly id: string;
  readonly secret: string;
  readonly fingerprint: string;
}

/** Errors: request_invalid. */
export function readToken(text: string): Token {
  try {
    const match = /^skerry-join-([\w-]+)$/.exec(text.trim());
    const parts = JSON.parse(Buffer.from(match?.[1] ?? '', 'base64url').toString()) as unknown[];
    if (parts.length !== 4 || parts.some((part) => typeof part !== 'string')) throw new Error('other parts');
    const [server, id, secret, fingerprint] = parts as [string, string, string, string];
    return { server, id, secret, fingerprint };
  } catch (error) {
    throw new SkerryError(
      'request_invalid',
      'the token is not whole: copy all of it, from `skerry-join-` on',
      {
        cause: error,
      },
    );
  }
}

/** Host and port of `host:port` or `[v6]:port`. */
export function addressOf(server: string): { host: string; port: number } {
  const { hostname, port } = new URL(`https://${server}`);
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 443) };
}

async function keyOf(keep: CredentialKeep): Promise<webcrypto.CryptoKeyPair> {
  x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);
  const pem = keep.read('node.key');
  if (pem !== undefined) {
    const key = await webcrypto.subtle.importKey(
      'pkcs8',
      x509.PemConverter.decode(pem)[0]!,
      ALGORITHM,
      true,
      ['sign'],
    );
    const { kty, crv, x, y } = await webcrypto.subtle.exportKey('jwk', key);
    const open = { kty: kty!, crv: crv!, x: x!, y: y! };
    return {
      privateKey: key,
      publicKey: await webcrypto.subtle.importKey('jwk', open, ALGORITHM, true, ['verify']),
    };
  }
  const keys = (await webcrypto.subtle.generateKey(ALGORITHM, true, [
    'sign',
    'verify',
  ])) as webcrypto.CryptoKeyPair;
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  keep.write('node.key', x509.PemConverter.encode(pkcs8, 'PRIVATE KEY'));
  return keys;
}

/** A request for a certificate; only its key counts, the name is the controller's to give. */
export async function certificateRequest(place: CredentialPlace): Promise<string> {
  const keys = await keyOf(keepOf(place));
  const made = await x509.Pkcs10CertificateRequestGenerator.create({
    name: 'CN=node',
    keys,
    signingAlgorithm: ALGORITHM,
  });
  return made.toString('pem');
}

/**
 * Spends a token. `subnets`: networks that guests of this machine could have, the best one first. What was got before a crash is asked for again with the same token and the same key.
 * Errors: request_invalid, forbidden, conflict, unavailable.
 */
export async function joinController(
  place: CredentialPlace,
  tokenText: string,
  wantedName: string,
  subnets: readonly string[] = [],
): Promise<Credentials> {
  const token = readToken(tokenText);
  const keep = keepOf(place);
  const request = await certificateRequest(keep);
  const authority = await authorityOf(token);
  const body = {
    id: token.id,
    secret: token.secret,
    node: wantedName,
    request,
    ...(subnets.length > 0 && { subnets }),
  };
  const { node, certificate, subnet } = await post(token.server, authority, '/v1/join', body);
  keep.write('ca.crt', authority);
  writeCertificate(keep, certificate);
  const about = { node, server: token.server, subnet };
  keep.write('agent.json', `${JSON.stringify(about)}\n`);
  return readCredentials(keep)!;
}

const unreachable = (server: string, error: Error) =>
  new SkerryError('unavailable', `no controller answers at ${server}: ${error.message}`, { cause: error });

/** The authority that the token names, as the server shows it. Errors: unavailable, forbidden. */
function authorityOf({ server, fingerprint }: Token): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...addressOf(server), rejectUnauthorized: false, timeout: LIMIT_MS });
    socket.once('timeout', () => socket.destroy(new Error(`not within ${LIMIT_MS / 1000} s`)));
    socket.once('error', (error) => reject(unreachable(server, error)));
    socket.once('secureConnect', () => {
      let one: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
      for (let depth = 0; one?.raw && depth < 5; depth++) {
        if (createHash('sha256').update(one.raw).digest('base64url') === fingerprint) {
          resolve(new X509Certificate(one.raw).toString());
          socket.destroy();
          return;
        }
        one = one.issuerCertificate === one ? undefined : one.issuerCertificate;
      }
      reject(
        new SkerryError(
          'forbidden',
          `what answers at ${server} is not the controller that made the token: nothing was told to it`,
        ),
      );
      socket.destroy();
    });
  });
}

function post(
  server: string,
  authority: string,
  path: string,
  body: object,
): Promise<{ node: string; certificate: string; subnet?: string }> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      {
        ...addressOf(server),
        ...{ path, method: 'POST', ca: authority, timeout: LIMIT_MS },
        // The authority signs servers of its controller only, under whichever name it is reached.
        checkServerIdentity: () => undefined,
        headers: { 'content-type': 'application/json' },
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (piece: string) => {
          text += piece;
        });
        response.on('error', reject);
        response.on('end', () => {
          try {
            const answer = JSON.parse(text);
            if (response.statusCode === 201) resolve(answer);
            else reject(fromProblem(answer, response.statusCode ?? 500));
          } catch (error) {
            reject(unreachable(server, error as Error));
          }
        });
      },
    );
    request.once('timeout', () => request.destroy(new Error(`not within ${LIMIT_MS / 1000} s`)));
    request.once('error', (error) => reject(unreachable(server, error)));
    request.end(JSON.stringify(body));
  });
}
