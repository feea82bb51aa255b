import { statSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { buildImage, Guest, image, type Machine } from './guest.ts';
import { fetchOnce } from './http-client.ts';

const HELLO = `exports.handle = function (request) { return 'hello ' + request.path; };`;

beforeAll(buildImage);

describe.each<Machine>(['microvm', 'microvm-legacy', 'q35'])('on %s with 8 MiB', (machine) => {
  test('boots, answers ping and HTTP, announces itself to its gateway', async () => {
    const guest = await Guest.spawn({ source: HELLO, machine });
    try {
      const announced = new Promise<Buffer>((done) => {
        guest.peer.onArp = done;
      });
      await guest.said(/ ready on 10\.1\.2\.3:8080 /);
      expect((await announced).readUInt32BE(24)).toBe(guest.peer.ip);
      const data = Buffer.from('the echo returns what it was given');
      expect((await guest.peer.ping(data, 1)).equals(data)).toBe(true);
      expect(await fetchOnce(guest.peer, '/world')).toMatchObject({ status: 200, body: 'hello /world' });
      expect(await fetchOnce(guest.peer, '/healthz')).toMatchObject({ status: 200, body: 'ok\n' });
    } finally {
      await guest.dispose();
    }
  });
});

test('the image is at most 600 KB', () => {
  expect(statSync(image).size).toBeLessThanOrEqual(600_000);
});

// The promise is 80 ms; the bound here leaves room for a machine that runs other tests beside this one.
test('the first HTTP answer comes soon after QEMU starts', async () => {
  const times: number[] = [];
  for (let run = 0; run < 5; run++) {
    const guest = await Guest.boot({ source: HELLO });
    try {
      await fetchOnce(guest.peer, '/healthz');
      times.push(performance.now() - guest.startedMs);
    } finally {
      await guest.dispose();
    }
  }
  console.log(`first HTTP answer after QEMU's start: ${times.map((ms) => ms.toFixed(0)).join(', ')} ms`);
  expect(Math.min(...times)).toBeLessThan(400);
});
