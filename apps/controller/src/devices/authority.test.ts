// What nodes prove themselves with to devices.
import 'reflect-metadata';
import { webcrypto, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { afterAll, expect, test } from 'vitest';
import { createDeviceAuthority } from './authority.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-device-authority-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

async function request(): Promise<string> {
  x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);
  const keys = (await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])) as never;
  const made = await x509.Pkcs10CertificateRequestGenerator.create({
    name: 'CN=anything',
    keys,
    signingAlgorithm: ALGORITHM,
  });
  return made.toString('pem');
}

test('a node gets a certificate for its addresses, of an authority that stays the same and is not the controller’s', async () => {
  const authority = createDeviceAuthority(folder, Date.now);
  const names = ['192.0.2.4', '2001:db8::4', 'north.example'];
  const made = await authority.sign('north', { request: await request(), names });
  const certificate = new X509Certificate(made.certificate);
  const ca = new X509Certificate(made.authority);
  expect(certificate.checkIssued(ca) && certificate.verify(ca.publicKey)).toBe(true);
  expect(certificate.subject).toContain('CN=north');
  for (const address of names.slice(0, 2)) expect(certificate.checkIP(address)).toBe(address);
  expect(certificate.checkHost('north.example')).toBe('north.example');
  expect(certificate.checkIP('192.0.2.5')).toBeUndefined();
  expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']); // serverAuth, and nothing else (RFC 5280, 4.2.1.12)
  expect(await createDeviceAuthority(folder, Date.now).pem()).toBe(made.authority);
});

test('a name that is none, too many names and a request that is none are refused', async () => {
  const authority = createDeviceAuthority(folder, Date.now);
  const good = await request();
  for (const names of [['a b'], ['*.example'], [''], Array.from({ length: 65 }, (_, i) => `n${i}`)])
    await expect(authority.sign('north', { request: good, names })).rejects.toMatchObject({
      code: 'request_invalid',
    });
  await expect(authority.sign('north', { request: 'x', names: [] })).rejects.toMatchObject({
    code: 'request_invalid',
  });
});
