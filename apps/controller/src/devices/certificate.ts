/** A certificate of a device, signed by an authority: for the key of its request, or with a key that is made. Loaded when one is asked for. */
import 'reflect-metadata';
import { createHash } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { type Authority, DAY_MS, exportKey, newKeys, readRequest } from '../auth/authority.ts';

/** Devices are seldom in reach of people; a lost one is shut out by `rotate`. */
const DEVICE_CERTIFICATE_MS = 3 * 365 * DAY_MS;

/** Errors: request_invalid. */
export async function makeCertificate(
  authority: Authority,
  names: { readonly project: string; readonly name: string },
  csr: string | undefined,
  nowMs: number,
) {
  const keys = csr === undefined ? await newKeys() : undefined;
  const publicKey = keys?.publicKey ?? (await readRequest(csr!)).publicKey;
  const made = await authority.issue({
    subject: [{ O: [names.project] }, { CN: [names.name] }],
    notBefore: new Date(nowMs - DAY_MS),
    notAfter: new Date(Math.min(nowMs + DEVICE_CERTIFICATE_MS, authority.cert.notAfter.getTime())),
    publicKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
      await x509.AuthorityKeyIdentifierExtension.create(authority.cert),
    ],
  });
  const key = keys && (await exportKey(keys));
  return {
    fingerprint: createHash('sha256').update(Buffer.from(made.rawData)).digest('hex'),
    certificate: made.toString('pem'),
    ...(key !== undefined && { key }),
  };
}
