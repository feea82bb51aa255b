// Tokens and certificates of nodes, at a controller that listens.
import 'reflect-metadata';
import { webcrypto, X509Certificate } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { nodeReport } from '../testing/fake-node.ts';
import { type Harness, startHarness } from '../testing/harness.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
let harness: Harness;
beforeAll(async () => {
  x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);
  harness = await startHarness({ https: true });
});
afterAll(() => harness.close());

/** A request for a certificate by a key of its own; with another key's signature where `signer` is given. */
async function requestOf(
  keys?: webcrypto.CryptoKeyPair,
): Promise<{ pem: string; keys: webcrypto.CryptoKeyPair }> {
  const own =
    keys ??
    ((await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair);
  const made = await x509.Pkcs10CertificateRequestGenerator.create({
    name: 'CN=whatever it says',
    keys: own,
    signingAlgorithm: ALGORITHM,
  });
  return { pem: made.toString('pem'), keys: own };
}
async function tokenOf(body: { node?: string; validSeconds?: number } = {}) {
  const made = await harness.client.node.token({ body });
  const [server, id, secret, fingerprint] = JSON.parse(
    Buffer.from(made.token.slice('skerry-join-'.length), 'base64url').toString(),
  ) as [string, string, string, string];
  return { made, server, id, secret, fingerprint };
}
const join = (token: { id: string; secret: string }, request: string, node?: string) =>
  harness.client.node.join({
    body: { id: token.id, secret: token.secret, request, ...(node === undefined ? {} : { node }) },
  });

test('a certificate is for the key of the request and for the name that the controller gives, and proves a client only', async () => {
  const token = await tokenOf({ node: 'north' });
  expect(token.server).toBe(`127.0.0.1:${harness.httpsPort}`);
  const { pem } = await requestOf();
  const joined = await join(token, pem, 'another');
  expect(joined.node).toBe('north');
  const certificate = new X509Certificate(joined.certificate);
  expect(certificate.subject).toBe('O=Skerry node\nCN=north');
  expect(certificate.verify(new X509Certificate(joined.authority).publicKey)).toBe(true);
  expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']); // clientAuth
  expect(certificate.ca).toBe(false);
  const days = (Date.parse(certificate.validTo) - Date.now()) / 86_400_000;
  expect(Math.round(days)).toBe(30);
});

test('a token is spent once: again by the same key, should the answer have been lost, and by no other', async () => {
  const token = await tokenOf();
  const { pem, keys } = await requestOf();
  await expect(join(token, pem)).rejects.toMatchObject({ code: 'request_invalid' });
  expect((await harness.client.node.tokens()).items.map(({ id }) => id)).toContain(token.id);
  await join(token, pem, 'south');
  expect(await join(token, (await requestOf(keys)).pem, 'south')).toMatchObject({ node: 'south' });
  await expect(join(token, (await requestOf()).pem, 'west')).rejects.toMatchObject({ code: 'forbidden' });
  expect((await harness.client.node.tokens()).items.map(({ id }) => id)).not.toContain(token.id);
});

test('a machine gets the first of the networks that it offers which meets no other node’s, and none where all do', async () => {
  const offer = async (node: string, subnets: string[], keys?: webcrypto.CryptoKeyPair) => {
    const { id, secret } = await tokenOf({ node });
    const { pem } = await requestOf(keys);
    return harness.client.node.join({ body: { id, secret, request: pem, node, subnets } });
  };
  expect(await offer('one', ['10.90.0.0/22', '10.64.0.0/22'])).toMatchObject({ subnet: '10.64.0.0/22' });
  expect(await offer('two', ['10.64.1.0/24', '10.64.8.0/22'])).toMatchObject({ subnet: '10.64.8.0/22' });
  await expect(offer('three', ['10.64.0.0/16', '10.64.2.0/24'])).rejects.toMatchObject({
    code: 'conflict',
    message: expect.stringContaining('that of the node one'),
  });
});

test('a node whose network meets that of another is refused, and the message names the other', async () => {
  const register = (name: string, subnet: string) =>
    harness.controller.link.register(nodeReport({ name, subnet }));
  await register('far', '10.66.0.0/22');
  await register('far', '10.66.0.0/22');
  await expect(register('late', '10.66.2.0/24')).rejects.toMatchObject({
    code: 'conflict',
    message: expect.stringContaining('that of the node far'),
  });
  await register('late', '10.66.4.0/24');
  const { items } = await harness.client.node.list();
  expect(items.find(({ metadata }) => metadata.name === 'late')?.status.subnet).toBe('10.66.4.0/24');
});

test('a name that is taken is given again only by a token that was made for it', async () => {
  const { pem } = await requestOf();
  for (const name of ['south', 'local'])
    await expect(join(await tokenOf(), pem, name)).rejects.toMatchObject({ code: 'conflict' });
  await expect(join(await tokenOf({ node: 'local' }), pem)).rejects.toMatchObject({ code: 'conflict' });
  expect(await join(await tokenOf({ node: 'south' }), pem)).toMatchObject({ node: 'south' });
});

test('what was taken back, is wrong, or is no request, gets nothing', async () => {
  const token = await tokenOf();
  const { pem } = await requestOf();
  await expect(join({ ...token, secret: 'x'.repeat(43) }, pem, 'east')).rejects.toMatchObject({
    code: 'forbidden',
  });
  await expect(join({ ...token, id: 'nobody' }, pem, 'east')).rejects.toMatchObject({ code: 'forbidden' });
  for (const rubbish of ['', 'rubbish', pem.replace(/[A-Z]/, 'x'), pem.slice(0, 200)])
    await expect(join(token, rubbish, 'east')).rejects.toMatchObject({ code: 'request_invalid' });
  const other = (await webcrypto.subtle.generateKey({ ...ALGORITHM, namedCurve: 'P-384' }, true, [
    'sign',
    'verify',
  ])) as webcrypto.CryptoKeyPair;
  await expect(join(token, (await requestOf(other)).pem, 'east')).rejects.toMatchObject({
    code: 'request_invalid',
  });
  await harness.client.node.revoke({ id: token.id });
  await expect(join(token, pem, 'east')).rejects.toMatchObject({ code: 'forbidden' });
  await expect(harness.client.node.revoke({ id: token.id })).rejects.toMatchObject({ code: 'not_found' });
});

test('a controller that answers on its own machine only makes no tokens', async () => {
  const closed = await startHarness({ node: false });
  try {
    await expect(closed.client.node.token({ body: {} })).rejects.toThrow(/--listen/);
  } finally {
    await closed.close();
  }
});
