// An image goes from one store to another over a connection that breaks, and only what lacks is sent.
import { randomBytes } from 'node:crypto';
import { createReadStream, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { archiveEntries, tarOf, testImage, writeTar } from '@skerry/testkit';
import { request } from 'undici';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createImageStore } from '../image-store.ts';
import type { ImageSource, ImageStore } from '../port.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-fetch-'));
const signal = new AbortController().signal;
let from: ImageStore;
let server: Server;
/** What was asked for: path and range. */
const asked: string[] = [];
/** The next answers of large blobs end after so many bytes; with `lies`, they are of something else. */
let breaksAt: number[] = [];
let lies = false;

beforeAll(async () => {
  from = await createImageStore({ dataDir: join(folder, 'from') });
  server = createServer((incoming, response) => {
    const start = Number(/^bytes=(\d+)-/.exec(incoming.headers.range ?? '')?.[1] ?? 0);
    asked.push(`${incoming.url}${start ? ` from ${start}` : ''}`);
    const digest = incoming.url!.slice('/blobs/'.length);
    if (start) response.writeHead(206, { 'content-range': `bytes ${start}-/*` });
    const stop = statSync(from.blobPath(digest)).size > 200_000 ? breaksAt.shift() : undefined;
    const body = createReadStream(from.blobPath(digest), {
      start,
      ...(stop === undefined ? {} : { end: start + stop - 1 }),
    });
    if (stop !== undefined) body.once('end', () => response.destroy());
    if (lies) body.on('data', (chunk) => (chunk as Buffer).fill(0));
    body.pipe(response, { end: stop === undefined });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true, force: true });
});

const source: ImageSource = {
  name: 'the controller',
  retryPauseMs: 1,
  manifest: (digest) => from.manifest(digest),
  get: (path, headers) =>
    request(`http://127.0.0.1:${(server.address() as AddressInfo).port}/${path}`, {
      headers: { ...headers },
    }),
};

async function imageOf(...contents: string[]): Promise<string> {
  const path = join(folder, `${contents.length}-${contents.at(-1)![0]}.tar`);
  const layers = await Promise.all(contents.map((body) => tarOf([{ name: 'file', body }])));
  await writeTar(path, archiveEntries(testImage(layers), 'test:1', 'oci'));
  return (await from.importFile(path, { signal }))[0]!.facts.digest;
}

test('what broke off goes on where it was, and what is there is not sent again', async () => {
  const base = randomBytes(200_000).toString('hex'); // nothing packs it into little
  const first = await imageOf(base);
  const to = await createImageStore({ dataDir: join(folder, 'to') });
  breaksAt = [100_000];
  expect(await to.fetch(first, source, signal)).toEqual(await from.facts(first));
  expect(await to.has(first)).toBe(true);
  expect(asked.some((one) => / from \d+/.test(one))).toBe(true);
  asked.length = 0;
  await to.fetch(first, source, signal);
  expect(asked).toEqual([]);

  const second = await imageOf(base, 'more');
  await to.fetch(second, source, signal);
  const shared = new Set((await from.manifest(first)).blobs.map(({ digest }) => `/blobs/${digest}`));
  expect(asked.filter((path) => shared.has(path))).toEqual([]);
  // It is there for good: also in the eyes of the next start.
  expect(await (await createImageStore({ dataDir: join(folder, 'to') })).has(second)).toBe(true);
});

test('content of another digest is refused, and nothing of the image is there', async () => {
  const digest = await imageOf('c'.repeat(1000));
  const to = await createImageStore({ dataDir: join(folder, 'other') });
  lies = true;
  await expect(to.fetch(digest, source, signal)).rejects.toMatchObject({ code: 'image_digest_mismatch' });
  lies = false;
  await expect(to.facts(digest)).rejects.toMatchObject({ code: 'image_not_found' });
  expect(readdirSync(join(folder, 'other/images/records'))).toEqual([]);
  await expect(to.fetch(`sha256:${'0'.repeat(64)}`, source, signal)).rejects.toMatchObject({
    code: 'image_not_found',
  });
});
