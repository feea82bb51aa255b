import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildImage, Guest } from './guest.ts';
import { type Answer, exchange, metric, readAnswer } from './http-client.ts';

let guest: Guest;
beforeAll(async () => {
  buildImage();
  guest = await Guest.boot({
    source: `exports.handle = function (r) { return r.method + ' ' + r.path + ' ' + r.body; };`,
    words: 'body_kib=32',
  });
});
afterAll(() => guest?.dispose());

/** Sends bytes as they are on a connection of their own; answers the first answer and whether the guest then closed. */
async function raw(bytes: string | Buffer): Promise<Answer & { closed: boolean }> {
  const client = await guest.peer.connect();
  client.send(bytes);
  const answer = await readAnswer(client);
  if (answer.headers.connection === 'close') await client.until(() => client.state === 'ended');
  client.end();
  return { ...answer, closed: client.state === 'ended' };
}

const host = 'Host: x\r\n';

describe('a malformed request is refused and its connection ends', () => {
  const cases: [string, string, number][] = [
    ['no request line', ' \r\n\r\n', 400],
    ['no version', `GET /\r\n${host}\r\n`, 400],
    ['a version that does not exist', `GET / HTTP/3.0\r\n${host}\r\n`, 505],
    ['lower case HTTP', `GET / http/1.1\r\n${host}\r\n`, 400],
    ['two blanks', `GET  / HTTP/1.1\r\n${host}\r\n`, 400],
    ['a path that is none', `GET foo HTTP/1.1\r\n${host}\r\n`, 400],
    ['a control character in the path', `GET /a\u0001b HTTP/1.1\r\n${host}\r\n`, 400],
    ['a method with a forbidden character', `GE(T / HTTP/1.1\r\n${host}\r\n`, 400],
    ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400],
    ['two Hosts', `GET / HTTP/1.1\r\n${host}${host}\r\n`, 400],
    ['a blank before the colon', `GET / HTTP/1.1\r\n${host}A : b\r\n\r\n`, 400],
    ['a folded line', `GET / HTTP/1.1\r\n${host}A: b\r\n c\r\n\r\n`, 400],
    ['a header without a colon', `GET / HTTP/1.1\r\n${host}nonsense\r\n\r\n`, 400],
    ['a bare line feed', `GET / HTTP/1.1\n${host}\r\n\r\n`, 400],
    ['a NUL in a value', `GET / HTTP/1.1\r\n${host}A: \u0000\r\n\r\n`, 400],
    ['a length that is no number', `POST / HTTP/1.1\r\n${host}Content-Length: 1x\r\n\r\n`, 400],
    ['a negative length', `POST / HTTP/1.1\r\n${host}Content-Length: -1\r\n\r\n`, 400],
    [
      'two lengths that differ',
      `POST / HTTP/1.1\r\n${host}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`,
      400,
    ],
    [
      'a length and chunks',
      `POST / HTTP/1.1\r\n${host}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`,
      400,
    ],
    ['another transfer coding', `POST / HTTP/1.1\r\n${host}Transfer-Encoding: gzip, chunked\r\n\r\n`, 501],
    ['an expectation that is not known', `POST / HTTP/1.1\r\n${host}Expect: wonders\r\n\r\n`, 417],
    ['a chunk size that is none', `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\nzz\r\n`, 400],
    [
      'a chunk size that overflows',
      `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\nfffffffff\r\n`,
      400,
    ],
    [
      'a chunk longer than it says',
      `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n`,
      400,
    ],
    [
      'a chunk larger than a body may be',
      `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\nfffffff\r\n`,
      413,
    ],
    ['a body larger than body_kib', `POST / HTTP/1.1\r\n${host}Content-Length: 32769\r\n\r\n`, 413],
    ['a head larger than 8 KiB', `GET / HTTP/1.1\r\n${host}A: ${'a'.repeat(9000)}\r\n\r\n`, 431],
    ['too many headers', `GET / HTTP/1.1\r\n${host}${'A: b\r\n'.repeat(60)}\r\n`, 431],
  ];
  test.each(cases)('%s', async (_name, bytes, status) => {
    expect(await raw(bytes)).toMatchObject({ status, closed: true });
  });
});

describe('a request in any legal form is understood', () => {
  test('chunks, with extensions and a trailer, cut anywhere', async () => {
    const client = await guest.peer.connect();
    const bytes = `POST /c HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX: y\r\n\r\n`;
    client.send(bytes);
    expect((await readAnswer(client)).body).toBe('POST /c hello world');
    for (const byte of bytes) client.send(byte);
    expect((await readAnswer(client)).body).toBe('POST /c hello world');
    client.end();
  });

  test('the absolute form, empty lines in front, and 1.0 with and without keep-alive', async () => {
    expect(await raw(`\r\n\r\nGET http://guest/abs HTTP/1.1\r\n${host}\r\n`)).toMatchObject({
      status: 200,
      body: 'GET /abs ',
      closed: false,
    });
    expect(await raw('GET /old HTTP/1.0\r\n\r\n')).toMatchObject({ status: 200, closed: true });
    expect((await raw('GET /old HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n')).headers.connection).toBe(
      'keep-alive',
    );
  });

  test('Expect: 100-continue is answered before the body', async () => {
    const client = await guest.peer.connect();
    client.send(`POST /e HTTP/1.1\r\n${host}Content-Length: 4\r\nExpect: 100-continue\r\n\r\n`);
    expect((await readAnswer(client)).status).toBe(100);
    client.send('body');
    expect((await readAnswer(client)).body).toBe('POST /e body');
    client.end();
  });

  test('a body of exactly body_kib', async () => {
    const client = await guest.peer.connect();
    const body = 'b'.repeat(32 * 1024);
    expect((await exchange(client, '/', { body })).body).toBe(`POST / ${body}`);
    client.end();
  });

  test('bytes that are no UTF-8 become U+FFFD', async () => {
    const head = `POST / HTTP/1.1\r\n${host}Content-Length: 6\r\n\r\n`;
    const answer = await raw(
      Buffer.concat([Buffer.from(head), Buffer.from([0xff, 0x81, 0x61, 0xc3, 0x28, 0xed])]),
    );
    expect(answer.body).toBe('POST / \ufffd\ufffda\ufffd(\ufffd');
  });
});

test('the kernel answers /healthz and /metrics to GET and HEAD only', async () => {
  const client = await guest.peer.connect();
  const refused = await exchange(client, '/healthz', { body: 'x' });
  expect(refused.status).toBe(405);
  expect(refused.headers.allow).toBe('GET, HEAD');
  const metrics = await exchange(client, '/metrics');
  expect(metrics.headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/);
  for (const line of metrics.body.trimEnd().split('\n'))
    expect(line).toMatch(/^(# TYPE pebble_\w+ (counter|gauge)|pebble_\w+(\{\w+="\w+"\})? [\d.]+)$/);
  expect((await exchange(client, '/metrics', { method: 'HEAD' })).body).toBe('');
  client.end();
  expect(await metric(guest.peer, 'pebble_heap_used_bytes')).toBeLessThan(
    await metric(guest.peer, 'pebble_heap_limit_bytes'),
  );
});
