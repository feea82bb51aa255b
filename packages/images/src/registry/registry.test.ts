// Pulls from Debian's docker-registry on loopback, filled by skopeo, and from a registry of our own that misbehaves.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from '@skerry/testkit';
import { pack } from 'tar-stream';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createImageStore } from '../image-store.ts';
import type { ImageStore } from '../port.ts';
import { parseReference } from './reference.ts';
import { parseChallenge } from './session.ts';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'skerry-registry-'));
const signal = new AbortController().signal;
let next = 0;
let images: ImageStore;
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(async () => {
  images = await createImageStore({ dataDir: join(folder, `data-${next++}`) });
});
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => 'done',
    (error) => error.code as string,
  );

test('references are read with the defaults of Docker', () => {
  expect(parseReference('busybox')).toEqual({
    registry: 'docker.io',
    repository: 'library/busybox',
    tag: 'latest',
    digest: undefined,
  });
  expect(parseReference('127.0.0.1:5000/team/app:1.2')).toEqual({
    registry: '127.0.0.1:5000',
    repository: 'team/app',
    tag: '1.2',
    digest: undefined,
  });
  for (const wrong of ['', 'UPPER/x', 'a:b:c', 'x@sha256:12', 'a//b', 'a/../b', `${'x'.repeat(600)}`]) {
    expect(() => parseReference(wrong), wrong).toThrow(expect.objectContaining({ code: 'request_invalid' }));
  }
});

test('a challenge is read whatever the order and quotes of its parts', () => {
  expect(parseChallenge('Bearer service="r",realm="https://a/t?x=1",scope=repository:a:pull')).toEqual({
    scheme: 'bearer',
    parameters: { service: 'r', realm: 'https://a/t?x=1', scope: 'repository:a:pull' },
  });
});

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createTcp().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });

describe('Debian’s docker-registry', () => {
  let registry: ChildProcess;
  let host: string;
  beforeAll(async () => {
    execFileSync('make', ['-s', '-C', join(root, 'guests/hello')]);
    host = `127.0.0.1:${await freePort()}`;
    const config = join(folder, 'registry.yml');
    writeFileSync(
      config,
      `version: 0.1\nlog: { level: error }\nstorage: { filesystem: { rootdirectory: ${join(folder, 'registry')} } }\nhttp: { addr: ${host} }\n`,
    );
    registry = spawn('docker-registry', ['serve', config], { stdio: 'ignore' });
    await eventually('the registry answers', async () => (await fetch(`http://${host}/v2/`)).ok);
    const from = `oci-archive:${join(root, 'guests/hello/build/hello.tar')}`;
    execFileSync('skopeo', [
      'copy',
      '--insecure-policy',
      '-q',
      '--dest-tls-verify=false',
      from,
      `docker://${host}/team/hello:1`,
    ]);
  });
  afterAll(() => void registry.kill('SIGKILL'));

  test('an image is pulled with progress, by tag and by digest', async () => {
    const seen: number[] = [];
    const facts = await images.pull(`${host}/team/hello:1`, {
      signal,
      progress: (done, total) => seen.push(done / total),
    });
    expect(facts).toMatchObject({ kind: 'container', facts: { config: { stopSignal: 'SIGTERM' } } });
    expect(seen.at(-1)).toBe(1);
    const again = await images.pull(`${host}/team/hello@${facts.digest}`, { signal });
    expect(again.digest).toBe(facts.digest);
  });

  test('an image that is not there is named as missing', async () => {
    expect(await failure(images.pull(`${host}/team/nothing:1`, { signal }))).toBe('image_not_found');
  });
});

describe('a registry that asks for tokens, cuts connections and lies', () => {
  const sha = (data: Buffer | string) => `sha256:${createHash('sha256').update(data).digest('hex')}`;
  let server: Server;
  let host: string;
  let cutAfter: number | undefined;
  let lie = false;
  let ranges: string[] = [];
  let blobs: Map<string, Buffer>;
  let manifests: Map<string, { type: string; body: string }>;

  const answer = (request: IncomingMessage, response: ServerResponse) => {
    const url = new URL(request.url!, 'http://x');
    if (url.pathname === '/token') {
      const known = request.headers.authorization === `Basic ${Buffer.from('ada:secret').toString('base64')}`;
      const right =
        url.searchParams.get('service') === 'test' && url.searchParams.get('scope') === 'repository:app:pull';
      return known && right
        ? response.end(JSON.stringify({ token: 't0ken' }))
        : response.writeHead(401).end();
    }
    if (request.headers.authorization !== 'Bearer t0ken') {
      const challenge = `Bearer realm="http://${host}/token",service="test",scope="repository:app:pull"`;
      return response.writeHead(401, { 'www-authenticate': challenge }).end();
    }
    const [, kind, name] = /^\/v2\/app\/(manifests|blobs)\/(.+)$/.exec(url.pathname) ?? [];
    const manifest = kind === 'manifests' ? manifests.get(name!) : undefined;
    if (manifest) return response.writeHead(200, { 'content-type': manifest.type }).end(manifest.body);
    const blob = kind === 'blobs' ? blobs.get(name!) : undefined;
    if (!blob) return response.writeHead(404).end();
    const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    if (request.headers.range) ranges.push(request.headers.range);
    const part = lie ? Buffer.alloc(blob.length, 7) : blob.subarray(from);
    const range = { 'content-range': `bytes ${from}-${blob.length - 1}/${blob.length}` };
    response.writeHead(from > 0 ? 206 : 200, { 'content-length': part.length, ...(from > 0 ? range : {}) });
    if (cutAfter !== undefined && part.length > cutAfter) {
      response.write(part.subarray(0, cutAfter), () => response.destroy());
      return undefined;
    }
    return response.end(part);
  };

  beforeAll(async () => {
    const tar = pack();
    tar.entry({ name: 'data' }, Buffer.alloc(600_000, 'x'));
    tar.finalize();
    const pieces: Buffer[] = [];
    for await (const piece of tar) pieces.push(piece as Buffer);
    const layer = Buffer.concat(pieces);
    const arch = process.arch === 'x64' ? 'amd64' : process.arch;
    const config = Buffer.from(
      JSON.stringify({
        architecture: arch,
        os: 'linux',
        config: { Cmd: ['/x'] },
        rootfs: { type: 'layers', diff_ids: [sha(layer)] },
      }),
    );
    const type = 'application/vnd.oci.image.manifest.v1+json';
    const describe = (data: Buffer, mediaType: string) => ({
      mediaType,
      digest: sha(data),
      size: data.length,
    });
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: type,
      config: describe(config, 'application/vnd.oci.image.config.v1+json'),
      layers: [describe(layer, 'application/vnd.oci.image.layer.v1.tar')],
    });
    const entry = { mediaType: type, digest: sha(manifest), size: manifest.length };
    const index = JSON.stringify({
      schemaVersion: 2,
      manifests: [
        { ...entry, digest: sha('other'), platform: { os: 'linux', architecture: 's390x' } },
        { ...entry, platform: { os: 'linux', architecture: arch } },
      ],
    });
    blobs = new Map([layer, config].map((data) => [sha(data), data]));
    manifests = new Map([
      ['1', { type: 'application/vnd.oci.image.index.v1+json', body: index }],
      [sha(manifest), { type, body: manifest }],
    ]);
    server = createServer(answer).listen(0, '127.0.0.1');
    await eventually('the server listens', () => server.address() !== null);
    host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  beforeEach(() => {
    cutAfter = undefined;
    lie = false;
    ranges = [];
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  const pull = (auth = { username: 'ada', password: 'secret' }) =>
    images.pull(`${host}/app:1`, { signal, auth });

  test('a token is fetched with the user’s name, and the platform of this node is chosen', async () => {
    expect((await pull()).kind).toBe('container');
  });

  test('a wrong password is told, and is in no message', async () => {
    const error = await pull({ username: 'ada', password: 'hunter2' }).catch((thrown) => thrown);
    expect(error.code).toBe('unauthenticated');
    expect(`${error.message}${JSON.stringify(error.details)}`).not.toContain('hunter2');
  });

  test('a download that is cut off goes on where it stopped', async () => {
    cutAfter = 200_000;
    expect((await pull()).kind).toBe('container');
    expect(ranges.length).toBeGreaterThan(0);
  });

  test('content with another digest than promised is refused and not kept', async () => {
    lie = true;
    expect(await failure(pull())).toBe('image_digest_mismatch');
    lie = false;
    expect((await pull()).kind).toBe('container');
  });

  test('a pull can be cancelled', async () => {
    const stop = new AbortController();
    const pulling = failure(
      images.pull(`${host}/app:1`, {
        signal: stop.signal,
        auth: { username: 'ada', password: 'secret' },
        progress: () => stop.abort(),
      }),
    );
    expect(await pulling).toBe('cancelled');
  });
});
