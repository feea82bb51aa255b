// Pulls from Debian's docker-registry on loopback, filled by skopeo, and from a registry of our own that misbehaves.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer as createTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from '@skerry/testkit';
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
