// Who a device is by password and by certificate, and what it may say and hear.
import 'reflect-metadata';
import { scryptSync, webcrypto } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import type { FeedDevice, FeedObject } from '@skerry/contract';
import { afterAll, expect, test } from 'vitest';
import { Auth } from './auth.ts';
import { namesOf } from './certificates.ts';
import { Directory } from './directory.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-auth-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let number = 0;
let revision = 0;

function directoryOf(...objects: FeedObject[]): Directory {
  const directory = new Directory(join(folder, String(number++)));
  tell(directory, ...objects);
  return directory;
}
const tell = (directory: Directory, ...objects: FeedObject[]) =>
  directory.apply(objects.map((object) => ({ type: 'put', revision: ++revision, object })));

function hashOf(password: string): string {
  const salt = Buffer.from('salt-of-the-sea!');
  const hash = scryptSync(password, salt, 32, { N: 1024, r: 8, p: 1 });
  return `scrypt$1024$8$1$${salt.toString('base64')}$${hash.toString('base64')}`;
}
const device = (name: string, more: Partial<FeedDevice> = {}): FeedDevice => ({
  ...{ kind: 'device', project: 'default', name, uid: `uid-${name}`, labels: {}, spec: {} },
  credentials: { version: 1, password: hashOf('right') },
  ...more,
});
const asking = (username: string, password: string) => ({
  clientId: 'c',
  remoteAddress: '192.0.2.1',
  username,
  password: Buffer.from(password),
});

x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const keys = () => webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
const DAY_MS = 86_400_000;
async function authority() {
  const own = (await keys()) as webcrypto.CryptoKeyPair;
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: '01',
    name: 'CN=Plant authority',
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + DAY_MS),
    signingAlgorithm: ALGORITHM,
    keys: own,
    extensions: [new x509.BasicConstraintsExtension(true, 0, true)],
  });
  const sign = async (subject: string, untilMs = Date.now() + DAY_MS) => {
    const made = await x509.X509CertificateGenerator.create({
      serialNumber: '02',
      subject,
      issuer: cert.subject,
      notBefore: new Date(Date.now() - DAY_MS),
      notAfter: new Date(untilMs),
      signingAlgorithm: ALGORITHM,
      signingKey: own.privateKey,
      publicKey: ((await keys()) as webcrypto.CryptoKeyPair).publicKey,
    });
    return Buffer.from(made.rawData);
  };
  return { pem: cert.toString('pem'), sign };
}
const showing = (certificate: Uint8Array) => ({ clientId: 'c', remoteAddress: '192.0.2.1', certificate });

test('a device proves itself by its password, by its name alone or with its project', async () => {
  const auth = new Auth(directoryOf(device('a'), device('b', { project: 'plant' })));
  expect(await auth.authenticate(asking('a', 'right'))).toMatchObject({
    identity: { project: 'default', device: 'a' },
  });
  expect(await auth.authenticate(asking('plant/b', 'right'))).toMatchObject({
    identity: { project: 'plant', device: 'b' },
  });
  for (const [name, password] of [
    ['a', 'wrong'],
    ['b', 'right'],
    ['a/b/c', 'right'],
    ['', 'right'],
    ['a', ''],
  ] as const)
    expect(await auth.authenticate(asking(name, password))).toMatchObject({ refused: 'bad-credentials' });
});

test('what was rotated, disabled or removed is refused at once, also where it was right before', async () => {
  const directory = directoryOf(device('a'));
  const auth = new Auth(directory);
  expect(await auth.authenticate(asking('a', 'right'))).toHaveProperty('identity');
  tell(directory, device('a', { credentials: { version: 2, password: hashOf('other') } }));
  expect(await auth.authenticate(asking('a', 'right'))).toMatchObject({ refused: 'bad-credentials' });
  expect(await auth.authenticate(asking('a', 'other'))).toHaveProperty('identity');
  tell(directory, device('a', { spec: { disabled: true } }));
  expect(await auth.authenticate(asking('a', 'right'))).toMatchObject({ refused: 'not-authorized' });
  directory.apply([{ type: 'delete', revision: ++revision, kind: 'device', project: 'default', name: 'a' }]);
  expect(await auth.authenticate(asking('a', 'right'))).toMatchObject({ refused: 'bad-credentials' });
});

test('a device that comes back costs no second hash', async () => {
  const auth = new Auth(directoryOf(device('a')));
  await auth.authenticate(asking('a', 'right'));
  const begun = process.cpuUsage();
  for (let i = 0; i < 1000; i++)
    expect(await auth.authenticate(asking('a', 'right'))).toHaveProperty('identity');
  // 1,000 hashes of this cost take 3 s and more
  expect(process.cpuUsage(begun).user / 1000).toBeLessThan(1500);
});

test('after a restart a password that nobody can guess costs no hash, one that people chose does', async () => {
  const path = join(folder, String(number++));
  const long = 'x'.repeat(32);
  const before = new Directory(path);
  // as the controller makes them: some 40 ms each
  const salt = Buffer.from('salt-of-the-sea!');
  const slow = (text: string) =>
    `scrypt$16384$8$1$${salt.toString('base64')}$${scryptSync(text, salt, 32, { N: 16_384, r: 8, p: 1 }).toString('base64')}`;
  tell(before, device('a', { credentials: { version: 1, password: slow(long) } }));
  tell(before, device('b', { credentials: { version: 1, password: slow('short') } }));
  const first = new Auth(before);
  expect(await first.authenticate(asking('a', long))).toHaveProperty('identity');
  expect(await first.authenticate(asking('b', 'short'))).toHaveProperty('identity');
  before.close();
  const after = new Directory(path);
  expect(after.passwordKeep().known.size).toBe(1);
  const second = new Auth(after);
  expect(await second.authenticate(asking('a', long))).toHaveProperty('identity');
  expect(await second.authenticate(asking('a', `${long}y`))).toMatchObject({ refused: 'bad-credentials' });
  tell(after, device('a', { credentials: { version: 2, password: slow('other') } }));
  expect(await second.authenticate(asking('a', long))).toMatchObject({ refused: 'bad-credentials' });
  after.close();
  const third = new Directory(path);
  expect(third.passwordKeep().known.size).toBe(0);
  third.close();
});

test('limits of a device are told to the broker', async () => {
  const limits = { messagesPerSecond: 5, messageSize: '2KiB', queued: 7 };
  const auth = new Auth(directoryOf(device('a', { spec: { limits } })));
  expect(await auth.authenticate(asking('a', 'right'))).toMatchObject({
    messagesPerSecond: 5,
    messageBytes: 2048,
    queuedMessages: 7,
  });
});

test('a certificate of the project’s authority opens, another one’s does not', async () => {
  const [ours, others] = [await authority(), await authority()];
  const auth = new Auth(
    directoryOf(
      { kind: 'project', project: 'plant', name: 'plant', authorities: [ours.pem], enrolment: 'manual' },
      device('press', { project: 'plant' }),
      device('typist', { project: 'plant', spec: { auth: 'password' } }),
    ),
  );
  for (const subject of ['CN=press, O=plant', 'CN=plant/press'])
    expect(await auth.authenticate(showing(await ours.sign(subject)))).toMatchObject({
      identity: { project: 'plant', device: 'press' },
    });
  const late = await ours.sign('CN=press, O=plant', Date.now() - 1000);
  for (const wrong of [
    await others.sign('CN=press, O=plant'),
    await ours.sign('CN=press, O=elsewhere'),
    late,
    Buffer.from('x'),
  ])
    expect(await auth.authenticate(showing(wrong))).toMatchObject({ refused: 'bad-credentials' });
  for (const subject of ['CN=nobody, O=plant', 'CN=typist, O=plant'])
    expect(await auth.authenticate(showing(await ours.sign(subject)))).toMatchObject({
      refused: 'not-authorized',
    });
});

test('a device that is not known yet is asked for once, and let in when the feed tells of it', async () => {
  const ours = await authority();
  const directory = directoryOf({
    ...{ kind: 'project', project: 'plant', name: 'plant', authorities: [ours.pem] },
    enrolment: 'automatic',
  });
  let asked = 0;
  const auth = new Auth(directory, { onEnrol: () => asked++ });
  const certificate = await ours.sign('CN=press, O=plant');
  for (let i = 0; i < 3; i++)
    expect(await auth.authenticate(showing(certificate))).toMatchObject({ refused: 'unavailable' });
  expect(asked).toBe(1);
  const [wish] = auth.enrolling;
  expect(wish).toMatchObject({ project: 'plant', device: 'press' });
  const credentials = { version: 1, fingerprint: wish!.fingerprint };
  tell(directory, device('press', { project: 'plant', credentials }));
  expect(auth.enrolling).toEqual([]);
  expect(await auth.authenticate(showing(certificate))).toHaveProperty('identity');
  const another = await ours.sign('CN=press, O=plant');
  expect(await auth.authenticate(showing(another))).toMatchObject({ refused: 'bad-credentials' });
});

test.each([
  ['CN=a', { project: 'default', device: 'a' }],
  ['O=p\nCN=a', { project: 'p', device: 'a' }],
  ['CN=p/a', { project: 'p', device: 'a' }],
  ['CN=a\nCN=b', undefined],
  ['CN=../a', undefined],
  ['CN=p/a/b', undefined],
  ['O=p', undefined],
])('the subject %j names %j', (subject, names) => {
  expect(namesOf(subject)).toEqual(names);
});

test('a device says and hears what is its own, and what its topics allow', () => {
  const topics = { publish: ['plant/+/%d'], subscribe: ['plant/#'] };
  const auth = new Auth(directoryOf(device('a'), device('b', { spec: { topics } })));
  const [a, b] = ['a', 'b'].map((name) => ({ project: 'default', device: name })) as [never, never];
  expect(auth.mayPublish(a, 'devices/a/t')).toBe(true);
  expect(auth.mayPublish(a, 'devices/b/t')).toBe(false);
  expect(auth.mayPublish(b, 'plant/hall/b')).toBe(true);
  expect(auth.mayPublish(b, 'plant/hall/a')).toBe(false);
  expect(auth.maySubscribe(a, 'commands/a/#')).toBe(true);
  expect(auth.maySubscribe(a, 'commands/#')).toBe(false);
  expect(auth.maySubscribe(b, 'plant/+/x')).toBe(true);
  expect(auth.mayPublish(a, '$skerry/shadow/a/update')).toBe(true);
  expect(auth.mayPublish(a, '$skerry/shadow/a/delta')).toBe(false);
  expect(auth.mayPublish(a, '$skerry/shadow/b/update')).toBe(false);
  expect(auth.maySubscribe(a, '$skerry/shadow/a/#')).toBe(true);
  expect(auth.maySubscribe(a, '$skerry/shadow/+/delta')).toBe(false);
  expect(auth.maySubscribe(a, '#')).toBe(false);
});
