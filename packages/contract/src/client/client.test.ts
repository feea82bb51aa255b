import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SkerryError } from '@skerry/model';
import { build } from 'esbuild';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fromProblem, toProblem } from '../problem.ts';
import { createClient } from './client.ts';
import { linesOf } from './lines.ts';
import { requestPath } from './transport.ts';
import { serverSentEvents } from './watch.ts';

let folder: string;
let server: Server | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'skerry-client-'));
});
afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
  await rm(folder, { recursive: true, force: true });
});
async function serve(answer: (path: string, body: string) => [number, string]): Promise<string> {
  const socketPath = join(folder, 's');
  server = createServer((request, response) => {
    let body = '';
    request.on('data', (part) => {
      body += part;
    });
    request.on('end', () => {
      const [status, text] = answer(`${request.method} ${request.url}`, body);
      response.writeHead(status).end(text);
    });
  });
  await new Promise<void>((resolve) => server!.listen(socketPath, resolve));
  return socketPath;
}

test('nobody listens: not_running; a broken address is refused; an address without an answer: unavailable', async () => {
  const none = createClient({ socketPath: join(folder, 'none') });
  await expect(none.status()).rejects.toMatchObject({ code: 'not_running' });
  await expect(none.workload.exec({ project: 'p', name: 'n', command: ['x'] })).rejects.toMatchObject({
    code: 'not_running',
  });
  expect(() => createClient({ url: 'edge-1:7443', token: 't' })).toThrow(/no server address/);
  expect(() => createClient({ url: 'http://192.0.2.1:80', token: 't' })).toThrow(/no server address/);
  const dead = createClient({ url: 'http://127.0.0.1:1', token: 't' });
  await expect(dead.status()).rejects.toMatchObject({ code: 'unavailable' });
  await Promise.all([none.close(), dead.close()]);
});

test('paths are encoded, lists repeated, what is undefined left out', () => {
  expect(requestPath('image.show', { project: 'p', name: 'reg:5000/a b:1' })).toBe(
    '/v1/projects/p/images/reg%3A5000%2Fa%20b%3A1',
  );
  expect(
    requestPath('workload.exec', { project: 'p', name: 'n', command: ['a', 'b c'], terminal: undefined }),
  ).toBe('/v1/projects/p/workloads/n/exec?command=a&command=b+c');
});

test('a problem document becomes the error that it was, and anything else a plain one', async () => {
  const original = new SkerryError('port_taken', 'tcp/80 is published by web-0', {
    details: { port: 'tcp/80' },
  });
  const socketPath = await serve((path) =>
    path.includes('doctor')
      ? [502, '<html>']
      : path.includes('healthz')
        ? [200, 'no JSON']
        : [409, JSON.stringify(toProblem(original))],
  );
  const client = createClient({ socketPath });
  await expect(client.status()).rejects.toMatchObject({
    code: 'port_taken',
    message: original.message,
    details: original.details,
  });
  await expect(client.doctor()).rejects.toMatchObject({
    code: 'unavailable',
    message: 'the server answered with status 502',
  });
  await expect(client.healthz()).rejects.toMatchObject({ code: 'unavailable' });
  await client.close();
});

test('an unforeseen error tells nothing of itself', () => {
  const problem = toProblem(new TypeError('/secret/path is undefined'));
  expect(JSON.stringify(problem)).not.toContain('secret');
  expect(fromProblem(problem, 500).code).toBe('internal');
});

test('lines and events are the same however the bytes were cut', async () => {
  const text = 'id: 1\nevent: put\ndata: {"a":"ä€😀"}\n\n:\n\nevent: delete\ndata: {\ndata: }\nid: 2\n\n';
  const cut = async function* (sizes: number[]) {
    const bytes = Buffer.from(text);
    let at = 0;
    for (const size of sizes) {
      yield bytes.subarray(at, at + size);
      at += size;
    }
    yield bytes.subarray(at);
  };
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 7 }), { maxLength: 30 }), async (sizes) => {
      const lines: string[] = [];
      for await (const line of linesOf(cut(sizes))) lines.push(line);
      expect(lines.join('\n')).toBe(text.trimEnd().concat('\n'));
      const events = [];
      for await (const event of serverSentEvents(cut(sizes))) events.push(event);
      expect(events).toEqual([
        { id: '1', event: 'put', data: '{"a":"ä€😀"}' },
        { id: '2', event: 'delete', data: '{\n}' },
      ]);
    }),
  );
});

test('the client loads no schema library: a command must start quickly', async () => {
  const { metafile } = await build({
    entryPoints: [fileURLToPath(new URL('../index.ts', import.meta.url))],
    bundle: true,
    write: false,
    metafile: true,
    format: 'esm',
    platform: 'node',
    conditions: ['@skerry/source'],
    logLevel: 'silent',
  });
  const inputs = Object.keys(metafile.inputs);
  expect(inputs.some((path) => path.includes('undici'))).toBe(true);
  expect(inputs.filter((path) => /node_modules\/(typebox|yaml|fastify)\//.test(path))).toEqual([]);
});
