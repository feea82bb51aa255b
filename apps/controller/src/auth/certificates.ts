/**
 * The certificates of a controller: an authority of its own and a server certificate signed by it, in `<dataDir>/tls/`,
 * with the token that callers over the network need. Keys are readable by their owner only. Made when they are missing.
 */
import 'reflect-metadata';
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { type Authority, DAY_MS, exportKey, newKeys, readIfThere, writePrivate } from './authority.ts';

export interface TlsFiles {
  readonly key: string;
  /** The server's and the authority's. */
  readonly cert: string;
  readonly ca: string;
  readonly token: string;
  readonly caPath: string;
  readonly tokenPath: string;
}

/** `names`: host names and addresses that callers will use, beside those of the machine itself. */
export async function ensureTls(
  dataDir: string,
  names: readonly string[],
  authority: Authority,
  now: number,
): Promise<TlsFiles> {
  const folder = join(dataDir, 'tls');
  const wanted = [...new Set(['localhost', '127.0.0.1', '::1', hostname(), ...names])].filter(
    (name) => name !== '' && name !== '0.0.0.0' && name !== '::',
  );
  const [certPath, keyPath] = [join(folder, 'server.crt'), join(folder, 'server.key')];
  let [cert, key] = [await readIfThere(certPath), await readIfThere(keyPath)];
  if (!cert || !key || !(await stillGood(cert, authority.cert, wanted, now))) {
    const keys = await newKeys();
    const made = await authority.issue({
      subject: 'CN=Skerry controller',
      notBefore: new Date(now - DAY_MS),
      notAfter: new Date(now + 397 * DAY_MS),
      publicKey: keys.publicKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension(wanted.map(generalName)),
        await x509.AuthorityKeyIdentifierExtension.create(authority.cert),
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
  return {
    key,
    cert: `${cert}\n${authority.pem}`,
    ca: authority.pem,
    token,
    caPath: join(folder, 'ca.crt'),
    tokenPath,
  };
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
