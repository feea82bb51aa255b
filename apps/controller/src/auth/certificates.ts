/**
 * The certificates of a controller: an authority of its own and a server certificate signed by it, in `<dataDir>/tls/`,
 * with the token that callers over the network need. Keys are readable by their owner only. Made when they are missing.
 */
import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';

const DAY_MS = 86_400_000;
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

export interface TlsFiles {
  readonly key: string;
  /** The server's and the authority's. */
  readonly cert: string;
  readonly ca: string;
  readonly token: string;
  readonly caPath: string;
  readonly tokenPath: string;
}

type Keys = webcrypto.CryptoKeyPair;

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Whole or not at all, also through a power cut. */
async function writePrivate(path: string, text: string): Promise<void> {
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

async function exportKey(keys: Keys): Promise<string> {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY');
}
const importKey = (pem: string) =>
  webcrypto.subtle.importKey('pkcs8', x509.PemConverter.decode(pem)[0]!, ALGORITHM, true, ['sign']);
const newKeys = () => webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']) as Promise<Keys>;

const serial = () => `01${randomBytes(15).toString('hex')}`;

async function authority(
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

/** `names`: host names and addresses that callers will use, beside those of the machine itself. */
export async function ensureTls(dataDir: string, names: readonly string[], now: number): Promise<TlsFiles> {
  x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);
  const folder = join(dataDir, 'tls');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const ca = await authority(folder, now);
  const wanted = [...new Set(['localhost', '127.0.0.1', '::1', hostname(), ...names])].filter(
    (name) => name !== '' && name !== '0.0.0.0' && name !== '::',
  );
  const [certPath, keyPath] = [join(folder, 'server.crt'), join(folder, 'server.key')];
  let [cert, key] = [await readIfThere(certPath), await readIfThere(keyPath)];
  if (!cert || !key || !(await stillGood(cert, ca.cert, wanted, now))) {
    const keys = await newKeys();
    const made = await x509.X509CertificateGenerator.create({
      serialNumber: serial(),
      subject: 'CN=Skerry controller',
      issuer: ca.cert.subject,
      notBefore: new Date(now - DAY_MS),
      notAfter: new Date(now + 397 * DAY_MS),
      signingAlgorithm: ALGORITHM,
      publicKey: keys.publicKey,
      signingKey: ca.key,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension(wanted.map(generalName)),
        await x509.AuthorityKeyIdentifierExtension.create(ca.cert),
      ],
    });
    cert = made.toString('pem');
    key = await exportKey(keys);
    await writePrivate(keyPath, key);
    await writePrivate(certPath, cert);
  }
  const tokenPath = join(folder, 'token');
  let token = (await readIfThere(tokenPath))?.trim();
  if (!token) {
    token = randomBytes(32).toString('base64url');
    await writePrivate(tokenPath, `${token}\n`);
  }
  const caText = ca.cert.toString('pem');
  return { key, cert: `${cert}\n${caText}`, ca: caText, token, caPath: join(folder, 'ca.crt'), tokenPath };
}

const isAddress = (name: string) => /^[\d.]+$/.test(name) || name.includes(':');
const generalName = (name: string) => ({
  type: isAddress(name) ? ('ip' as const) : ('dns' as const),
  value: name,
});

async function stillGood(
  text: string,
  ca: x509.X509Certificate,
  wanted: readonly string[],
  now: number,
): Promise<boolean> {
  const cert = new x509.X509Certificate(text);
  if (cert.notAfter.getTime() < now + 30 * DAY_MS) return false;
  if (!(await cert.verify({ publicKey: ca.publicKey, signatureOnly: true }))) return false;
  const names =
    cert.getExtension(x509.SubjectAlternativeNameExtension)?.names.items.map((item) => item.value) ?? [];
  return wanted.every((name) => names.includes(name));
}
