// Pulls from a registry on loopback that asks for tokens, cuts connections, moves its blobs and lies.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, type TestImage, tarOf, testImage } from '@skerry/testkit';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { createImageStore } from '../image-store.ts';
import type { ImageStore } from '../port.ts';
import { FakeRegistry, USER } from './testing/fake-registry.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-pull-'));
const signal = new AbortController().signal;
let next = 0;
let dataDir: string;
let image: TestImage;
let images: ImageStore;
let registry: FakeRegistry;

beforeAll(async () => {
  // Two layers of random bytes, 600 KB and 400 KB: nothing in between shrinks them.
  const layers = [600_000, 400_000].map((size) => tarOf([{ name: 'data', body: randomBytes(size) }]));
  image = testImage(await Promise.all(layers));
});
beforeEach(async () => {
  dataDir = join(folder, `data-${next++}`);
  images = await createImageStore({ dataDir, retryPauseMs: 10 });
  registry = await FakeRegistry.start();
  registry.add('1', image);
});
afterEach(() => registry.stop());
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const pull = (options: Partial<Parameters<ImageStore['pull']>[1]> = {}, tag = ':1') =>
  images.pull(`${registry.host}/app${tag}`, { signal, auth: USER, ...options });
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => 'done',
    (error) => `${error.code}: ${error.message}`,
  );
const list = (name: string) => readdirSync(join(dataDir, 'images', name));
const partialOf = (layer: number) => join(dataDir, 'images/partial', image.layers[layer]!.digest.slice(7));
/** The ranges that were asked for of a layer; '' is all of it. */
const asked = (layer: number) =>
  registry.asked
    .filter((line) => line.includes(image.layers[layer]!.digest))
    .map((line) => line.split(' ')[1] ?? '');

test('a token is fetched with the user’s name, this node’s platform is chosen, progress ends at the whole', async () => {
  const seen: [number, number][] = [];
  const facts = await pull({ progress: (...both) => seen.push(both) });
  expect(facts).toMatchObject({ kind: 'container', digest: image.manifest.digest });
  expect(await images.has(facts.digest)).toBe(true);
  expect(seen.at(-1)![0]).toBe(seen.at(-1)![1]);
  expect(list('partial')).toEqual([]);
});

test('pulled again, nothing is fetched but the manifests', async () => {
  await pull();
  registry.asked.length = 0;
  await pull({}, `@${image.manifest.digest}`);
  expect(registry.asked.filter((line) => line.startsWith('blobs/'))).toEqual([]);
});

test('a wrong password is told, and is in no message', async () => {
  const error = await pull({ auth: { username: 'ada', password: 'hunter2' } }).catch((thrown) => thrown);
  expect(error.code).toBe('unauthenticated');
  expect(`${error.message}${JSON.stringify(error.details)}${error.cause}`).not.toContain('hunter2');
});

test('a download that is cut off goes on where it stopped', async () => {
  registry.cutAfter = 200_000;
  await pull();
  const from = asked(0).map((range) => Number(/^bytes=(\d+)-$/.exec(range)?.[1] ?? 0));
  expect(from[0]).toBe(0);
  expect(from.length).toBeGreaterThanOrEqual(4);
  // What was under way when the connection broke may be lost; what had arrived is not asked for again.
  for (const [at, offset] of from.slice(1).entries()) {
    expect(offset).toBeGreaterThan(from[at]!);
    expect(offset).toBeLessThanOrEqual(from[at]! + 200_000);
  }
});

test('a registry that never sends much is given up, and what came is the start of the next pull, after a restart too', async () => {
  registry.cutAfter = 10_000;
  expect(await failure(pull())).toMatch(/^registry_unavailable.*broke off 5 times/);
  expect(list('partial')).toHaveLength(2);
  registry.cutAfter = undefined;
  registry.asked.length = 0;
  images = await createImageStore({ dataDir, retryPauseMs: 10 });
  await pull();
  expect(asked(0)[0]).toMatch(/^bytes=\d0000-$/);
});

test('a partial file that turns out wrong, or longer than it may be, is fetched anew', async () => {
  writeFileSync(partialOf(0), Buffer.alloc(300_000));
  writeFileSync(partialOf(1), Buffer.alloc(900_000));
  await pull();
  expect(asked(0)).toEqual(['bytes=300000-', '']);
  expect(asked(1)).toEqual(['']);
});

test('a registry without ranges is asked for all of it again', async () => {
  registry.ignoresRanges = true;
  writeFileSync(partialOf(0), image.layers[0]!.data.subarray(0, 100_000));
  await pull();
  expect(asked(0)).toEqual(['bytes=100000-']);
});

test('content with another digest than promised is refused and not kept', async () => {
  registry.lies = true;
  expect(await failure(pull())).toMatch(/^image_digest_mismatch/);
  registry.lies = false;
  await pull();
});

test('a manifest with another digest than asked for is refused', async () => {
  const other = testImage([await tarOf([{ name: 'other', body: 'x' }])]);
  registry.manifests.get(image.manifest.digest)!.body = other.manifest.data.toString();
  expect(await failure(pull({}, `@${image.manifest.digest}`))).toMatch(/^image_digest_mismatch/);
});

test('documents of the wrong shape, and larger than any document, are refused', async () => {
  const manifest = registry.manifests.get('1')!;
  for (const [body, expected] of [
    ['<html>', /^image_invalid.*no JSON/],
    ['{}', /^image_invalid.*no layers/],
    [JSON.stringify({ manifests: [] }), /^image_invalid.*nothing for linux/],
    [`{"x":"${'x'.repeat(5_000_000)}"}`, /^registry_unavailable.*more than 4194304 bytes/],
  ] as const) {
    manifest.body = body;
    expect(await failure(pull()), body.slice(0, 20)).toMatch(expected);
  }
});

test('an image for another machine is refused before its layers are fetched', async () => {
  registry.add('other', testImage([await tarOf([{ name: 'data', body: 'x' }])], { arch: 's390x' }));
  expect(await failure(pull({}, ':other'))).toMatch(/^image_invalid.*for s390x/);
  expect(registry.asked.filter((line) => line.startsWith('blobs/'))).toHaveLength(1);
});

test('an image that is larger than the disk is refused with the numbers before anything is fetched', async () => {
  const document = JSON.parse(image.manifest.data.toString());
  document.layers[0].size = 2 ** 50;
  registry.manifests.set('huge', { type: document.mediaType, body: JSON.stringify(document) });
  expect(await failure(pull({}, ':huge'))).toMatch(/^disk_full.*needs 1.* more.* left/);
  expect(registry.asked.filter((line) => line.startsWith('blobs/'))).toEqual([]);
});

test('errors of the registry that pass are waited for, those that stay are told', async () => {
  registry.failures = 2;
  await pull();
  registry.failures = 1000;
  expect(await failure(pull())).toMatch(/^registry_unavailable.*answers 503/);
  registry.stop();
  expect(await failure(pull())).toMatch(/^registry_unavailable.*can not be reached/);
});

test('blobs may lie at another host, which is never given the credentials, though it asks', async () => {
  registry.movesBlobs = true;
  await pull();
  images = await createImageStore({ dataDir: join(folder, `data-${next++}`), retryPauseMs: 10 });
  registry.otherHostAsks = true;
  expect(await failure(pull())).toMatch(/^unauthenticated/);
  expect(registry.elsewhere.length).toBeGreaterThan(3);
  expect(registry.elsewhere.every((header) => header === undefined)).toBe(true);
});

test('plain HTTP is spoken with this machine only, and with others when the caller says so', async () => {
  const reference = `${registry.host.replace('127.0.0.1', '0.0.0.0')}/app:1`; // reaches us, and is no loopback address
  expect(await failure(images.pull(reference, { signal, auth: USER }))).toMatch(/^registry_unavailable/);
  expect(registry.asked).toEqual([]);
  expect((await images.pull(reference, { signal, auth: USER, insecure: true })).kind).toBe('container');
});

test('two pulls at once fetch what they share only once', async () => {
  const more = testImage([
    image.layers[0]!.data,
    await tarOf([{ name: 'more', body: randomBytes(100_000) }]),
  ]);
  registry.add('2', more);
  const [one, two] = await Promise.all([pull(), pull({}, ':2')]);
  expect([await images.has(one.digest), await images.has(two.digest)]).toEqual([true, true]);
  expect(asked(0)).toEqual(['']);
});

test('when one layer fails, the pull fails as a whole', async () => {
  registry.blobs.delete(image.layers[1]!.digest);
  expect(await failure(pull())).toMatch(/^image_not_found/);
  expect(list('records')).toEqual([]);
});

test('a pull can be cancelled at any moment', async () => {
  for (const after of [0, 1, 5]) {
    const stop = new AbortController();
    let seen = 0;
    if (after === 0) stop.abort();
    const progress = () => ++seen >= after && stop.abort();
    expect(await failure(pull({ signal: stop.signal, progress })), `${after}`).toMatch(/^cancelled/);
  }
  registry.failures = 1000;
  const stop = new AbortController();
  const pulling = failure(pull({ signal: stop.signal })); // it pauses between tries
  await eventually('it was asked', () => registry.asked.length > 0);
  stop.abort();
  expect(await pulling).toMatch(/^cancelled/);
});
