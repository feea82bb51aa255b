/**
 * The authority of a controller, in `<dataDir>/tls/`: it signs the controller's own certificate and those of its nodes.
 * Its key is readable by its owner only and never leaves the folder. Made when it is missing.
 */
import 'reflect-metadata';
import { createHash, randomBytes, webcrypto } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { SkerryError } from '@skerry/model';

export const DAY_MS = 86_400_000;
/** A node renews its own well before; one that was away for longer joins again. */
const NODE_CERTIFICATE_MS = 30 * DAY_MS;
/** What clients accept of a server at most (CA/Browser Forum, 398 days). */
const SERVER_CERTIFICATE_MS = 397 * DAY_MS;
/** Clocks of machines at the edge are not always right. */
const CLOCK_SLACK_MS = DAY_MS;
export const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const CSR_LIMIT = 8192;

type Keys = webcrypto.CryptoKeyPair;

export interface Authority {
  readonly cert: x509.X509Certificate;
  readonly pem: string;
  /** SHA-256 of the certificate, base64url: whoever knows it can tell this authority from any other. */
  readonly fingerprint: string;
  issue(
    options: Omit<
      x509.X509CertificateCreateWithKeyParams,
      'issuer' | 'signingKey' | 'signingAlgorithm' | 'serialNumber'
    >,
  ): Promise<x509.X509Certificate>;
  /** A certificate with which a node proves its name. Errors: request_invalid. */
  signNode(csr: string, node: string, now: number): Promise<string>;
  /** A certificate with which a server proves these addresses and names. Errors: request_invalid. */
  signServer(csr: string, name: string, names: readonly string[], now: number): Promise<string>;
}

export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Whole or not at all, also through a power cut. */
export async function writePrivate(path: string, text: string): Promise<void> {
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    await file.chmod(0o600);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}

export async function exportKey(keys: Keys): Promise<string> {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY');
}
const importKey = (pem: string) =>
  webcrypto.subtle.importKey('pkcs8', x509.PemConverter.decode(pem)[0]!, ALGORITHM, true, ['sign']);
export const newKeys = () =>
  webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']) as Promise<Keys>;

/** Positive, and nobody can guess the next one. */
const serial = () => `01${randomBytes(15).toString('hex')}`;

export async function openAuthority(dataDir: string, now: number): Promise<Authority> {
  x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);
  const folder = join(dataDir, 'tls');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const { cert, key } = await keysOf(folder, now);
  const pem = cert.toString('pem');
  const issue: Authority['issue'] = (options) =>
    x509.X509CertificateGenerator.create({
      ...options,
      serialNumber: serial(),
      issuer: cert.subject,
      signingAlgorithm: ALGORITHM,
      signingKey: key,
    });
  return {
    cert,
    pem,
    fingerprint: createHash('sha256').update(Buffer.from(cert.rawData)).digest('base64url'),
    issue,
    async signNode(csr, node, at) {
      const request = await readRequest(csr);
      const made = await issue({
        subject: [{ O: ['Skerry node'] }, { CN: [node] }],
        notBefore: new Date(at - CLOCK_SLACK_MS),
        notAfter: new Date(at + NODE_CERTIFICATE_MS),
        publicKey: request.publicKey,
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
          await x509.AuthorityKeyIdentifierExtension.create(cert),
        ],
      });
      return made.toString('pem');
    },
    async signServer(csr, name, names, at) {
      const request = await readRequest(csr);
      const made = await issue({
        subject: [{ CN: [name] }],
        notBefore: new Date(at - CLOCK_SLACK_MS),
        notAfter: new Date(at + SERVER_CERTIFICATE_MS),
        publicKey: request.publicKey,
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
          new x509.SubjectAlternativeNameExtension(
            names.map((value) => ({ type: isIP(value) ? ('ip' as const) : ('dns' as const), value })),
          ),
          await x509.AuthorityKeyIdentifierExtension.create(cert),
        ],
      });
      return made.toString('pem');
    },
  };
}

/** Nothing of a request counts but its key, and that whoever sent it has the other half. Errors: request_invalid. */
export async function readRequest(csr: string): Promise<x509.Pkcs10CertificateRequest> {
  const invalid = (why: string, cause?: unknown) =>
    new SkerryError('request_invalid', `the certificate request is not valid: ${why}`, { cause });
  if (csr.length > CSR_LIMIT) throw invalid(`it has more than ${CSR_LIMIT} bytes`);
  let request: x509.Pkcs10CertificateRequest;
  let isSigned: boolean;
  try {
    request = new x509.Pkcs10CertificateRequest(csr);
    isSigned = await request.verify();
  } catch (error) {
    throw invalid('it can not be read', error);
  }
  const { namedCurve } = request.publicKey.algorithm as { namedCurve?: string };
  if (namedCurve !== ALGORITHM.namedCurve) throw invalid(`its key is not one of ${ALGORITHM.namedCurve}`);
  if (!isSigned) throw invalid('it is not signed with its own key');
  return request;
}

async function keysOf(
  folder: string,
  now: number,
): Promise<{ cert: x509.X509Certificate; key: webcrypto.CryptoKey }> {
  const [certPath, keyPath] = [join(folder, 'ca.crt'), join(folder, 'ca.key')];
  const [certText, keyText] = [await readIfThere(certPath), await readIfThere(keyPath)];
  if (certText && keyText) {
    const cert = new x509.X509Certificate(certText);
    if (cert.notAfter.getTime() > now + 30 * DAY_MS) return { cert, key: await importKey(keyText) };
  }
  const keys = await newKeys();
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: 'CN=Skerry authority',
    notBefore: new Date(now - DAY_MS),
    notAfter: new Date(now + 3650 * DAY_MS),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  await writePrivate(keyPath, await exportKey(keys));
  await writePrivate(certPath, cert.toString('pem'));
  return { cert, key: keys.privateKey };
}
