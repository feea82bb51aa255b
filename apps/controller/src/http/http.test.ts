import { readFile, stat, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { connect } from 'node:net';
import { createClient, routeIds, routeOf } from '@skerry/contract';
import { openApi } from '@skerry/contract/schema';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { mergePatch } from '../manifests/merge-patch.ts';
import { type Harness, startHarness, workload } from '../testing/harness.ts';
import { parseSelector } from './selector.ts';

const project = 'default';
let harness: Harness;
beforeAll(async () => {
  harness = await startHarness({ engine: 'sqlite' });
  for (let i = 0; i < 25; i++) {
    const name = `w-${String(i).padStart(2, '0')}`;
    await harness.client.workload.put({
      project,
      name,
      body: workload(name, { replicas: 0 }, { labels: { parity: i % 2 ? 'odd' : 'even' } }),
    });
  }
});
afterAll(async () => {
  const { errors } = harness;
  await harness.close();
  expect(errors).toEqual([]);
});

interface Answer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: string;
}
const raw = (
  method: string,
  path: string,
  options: { headers?: Record<string, string>; body?: string } = {},
) =>
  new Promise<Answer>((resolve, reject) => {
    const outgoing = request(
      { socketPath: harness.socketPath, method, path, headers: options.headers ?? {} },
      (incoming) => {
        let body = '';
        incoming.on('data', (part) => {
          body += part;
        });
        incoming.on('end', () => resolve({ status: incoming.statusCode!, headers: incoming.headers, body }));
      },
    );
    outgoing.on('error', reject);
    outgoing.end(options.body);
  });

test('lists come in pages that together are the whole, each name once', async () => {
  const names: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await harness.client.workload.list({
      project,
      limit: 4,
      ...(cursor !== undefined && { cursor }),
    });
    expect(page.items.length).toBeLessThanOrEqual(4);
    names.push(...page.items.map(({ metadata }) => metadata.name));
    cursor = page.cursor;
  } while (cursor !== undefined);
  expect(names).toEqual(Array.from({ length: 25 }, (_, i) => `w-${String(i).padStart(2, '0')}`));
  const odd = await harness.client.workload.list({ project, selector: 'parity=odd', limit: 5 });
  expect(odd.items.map(({ metadata }) => metadata.name)).toEqual(['w-01', 'w-03', 'w-05', 'w-07', 'w-09']);
  await expect(harness.client.workload.list({ project, cursor: 'bm9uZQ' })).rejects.toMatchObject({
    code: 'request_invalid',
  });
  await expect(harness.client.workload.list({ project: 'nowhere' })).rejects.toMatchObject({
    code: 'not_found',
  });
});

test.each([
  ['app=web', true],
  ['app==web', true],
  ['app!=web', false],
  ['app', true],
  ['!app', false],
  ['app=web,!old', true],
  ['app=web,tier=x', false],
])('selector %s', (text, fits) => {
  expect(parseSelector(text)({ app: 'web' })).toBe(fits);
});

test('a resource carries its ETag, and is not sent again to whoever has it', async () => {
  const first = await raw('GET', '/v1/projects/default/workloads/w-00');
  expect(first.status).toBe(200);
  expect(first.headers.etag).toBe(`"${JSON.parse(first.body).metadata.revision}"`);
  const second = await raw('GET', '/v1/projects/default/workloads/w-00', {
    headers: { 'if-none-match': String(first.headers.etag) },
  });
  expect([second.status, second.body]).toEqual([304, '']);
  expect(
    (
      await raw('PUT', '/v1/projects/default/workloads/w-00', {
        headers: { 'if-match': 'W/x', 'content-type': 'application/json' },
        body: '{}',
      })
    ).status,
  ).toBe(400);
});

test.each([
  ['GET', '/v1/nonsense', undefined, 404, 'not_found'],
  ['POST', '/v1/status', undefined, 404, 'not_found'],
  ['GET', '/v1/status?verbose=1', undefined, 400, 'request_invalid'],
  ['GET', '/v1/projects/default/workloads?limit=0', undefined, 400, 'request_invalid'],
  ['GET', '/v1/projects/default/workloads?limit=many', undefined, 400, 'request_invalid'],
  ['GET', '/v1/projects/default/workloads?since=3', undefined, 400, 'request_invalid'],
  ['GET', '/v1/projects/%zz/workloads', undefined, 400, 'request_invalid'],
  ['GET', '/v1/projects/default/workloads/none', undefined, 404, 'not_found'],
  ['PUT', '/v1/projects/default/workloads/x', '{', 400, 'request_invalid'],
  ['PUT', '/v1/projects/default/workloads/x', undefined, 400, 'request_invalid'],
  ['PUT', '/v1/projects/default/workloads/x', '{"kind":"Workload","__proto__":{}}', 422, 'manifest_invalid'],
  ['PUT', '/v1/projects/default/workloads/x', '[]', 422, 'manifest_invalid'],
  ['PUT', '/v1/projects/default/workloads/x', JSON.stringify(workload('y')), 422, 'manifest_invalid'],
  ['PUT', '/v1/projects/default/volumes/x', JSON.stringify(workload('x')), 422, 'manifest_invalid'],
  ['PUT', '/v1/projects/default/workloads/x', `"${'x'.repeat(3_000_000)}"`, 413, 'payload_too_large'],
  ['POST', '/v1/apply', 'x'.repeat(4_200_000), 413, 'payload_too_large'],
  ['POST', '/v1/projects/default/functions', '{"name":"a"}', 400, 'request_invalid'],
  ['POST', '/v1/projects/default/images/import', undefined, 400, 'request_invalid'],
  ['DELETE', '/v1/projects/default', undefined, 403, 'forbidden'],
])('%s %s is a problem document: %#', async (method, path, body, status, code) => {
  const headers = body === undefined ? {} : { 'content-type': 'application/json' };
  const answer = await raw(method, path, { headers, ...(body !== undefined && { body }) });
  expect(answer.headers['content-type']).toContain('application/problem+json');
  expect(JSON.parse(answer.body)).toMatchObject({
    status,
    code,
    title: expect.any(String),
    detail: expect.any(String),
    remedy: expect.any(String),
  });
  expect(answer.status).toBe(status);
});

test('text that is no HTTP does no harm', async () => {
  for (const noise of [
    '\0\0\0\r\n\r\n',
    'GET / HTTP/9.9\r\n\r\n',
    `GET /${'a'.repeat(70_000)} HTTP/1.1\r\n\r\n`,
  ]) {
    await new Promise<void>((resolve) => {
      const socket = connect(harness.socketPath, () => socket.write(noise));
      socket.on('close', () => resolve());
      socket.on('error', () => resolve());
      socket.resume();
    });
  }
  expect(await harness.client.healthz()).toEqual({ status: 'ok' });
});

test('status and doctor tell of the whole', async () => {
  expect(await harness.client.status()).toMatchObject({
    node: 'local',
    workloads: 25,
    nodes: { ready: 1, total: 1 },
  });
  expect((await harness.client.doctor()).nodes[0]!.findings[0]!.name).toBe('container');
  expect((await harness.client.doctor({ fresh: true })).nodes[0]!.findings[0]!.text).toBe('probed now');
});

test('the socket is for its owner only', async () => {
  expect((await stat(harness.socketPath)).mode & 0o777).toBe(0o600);
});

test('over the network: TLS, a token, and not many guesses', async () => {
  const other = await startHarness({ https: true, node: false });
  try {
    const { listen } = other.controller;
    await expect(listen({ socketPath: `/tmp/${'x'.repeat(120)}` })).rejects.toMatchObject({
      code: 'data_folder_invalid',
    });
    const ca = await readFile(`${other.folder}/tls/ca.crt`, 'utf8');
    const token = (await readFile(`${other.folder}/tls/token`, 'utf8')).trim();
    for (const file of ['token', 'ca.key', 'server.key'])
      expect((await stat(`${other.folder}/tls/${file}`)).mode & 0o777).toBe(0o600);
    const url = `https://127.0.0.1:${other.httpsPort}`;
    const good = createClient({ url, token, ca });
    expect(await good.status()).toMatchObject({ node: 'local' });
    const bad = createClient({ url, token: `${token}x`, ca });
    for (let i = 0; i < 12; i++)
      await expect(bad.status()).rejects.toMatchObject({ code: 'unauthenticated' });
    await expect(bad.status()).rejects.toThrow(/too many wrong tokens/);
    await expect(bad.instance.exec({ project, name: 'a-0', command: ['x'] })).rejects.toMatchObject({
      code: 'unauthenticated',
    });
    expect(await bad.healthz()).toEqual({ status: 'ok' });
    await expect(createClient({ url, token }).healthz()).rejects.toMatchObject({ code: 'unavailable' });
    expect(other.errors.join()).not.toContain(token);
    await Promise.all([good.close(), bad.close()]);
  } finally {
    await other.close();
  }
});

test('a merge patch is that of RFC 7396, appendix A', () => {
  const rows: [unknown, unknown, unknown][] = [
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ a: 'foo' }, null, null],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ];
  for (const [target, patch, result] of rows) expect(mergePatch(target, patch)).toEqual(result);
});

test('the description is served, and the copy in openapi/ is the same', async () => {
  const path = new URL('../../../../openapi/skerry.json', import.meta.url);
  const served = await harness.client.openapi();
  expect(served).toEqual(JSON.parse(JSON.stringify(openApi())));
  // `UPDATE_OPENAPI=1 npx vitest run apps/controller/src/http` writes it anew.
  if (process.env.UPDATE_OPENAPI) await writeFile(path, `${JSON.stringify(served, null, 2)}\n`);
  expect(JSON.parse(await readFile(path, 'utf8'))).toEqual(served);
  const paths = (served as { paths: unknown }).paths as Record<string, Record<string, unknown>>;
  for (const id of routeIds())
    expect(paths[routeOf(id).path]![routeOf(id).method.toLowerCase()]).toMatchObject({ operationId: id });
});
