// What an agent knows its controller by: kept in its data folder, or where a simulated node has nothing but memory.
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { certificateRequest, readCredentials, readToken, writeCertificate } from './credentials.ts';

let dataDir: string;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'skerry-credentials-'));
});
afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

const memory = () => {
  const texts = new Map<string, string>();
  return {
    texts,
    read: (name: string) => texts.get(name),
    write: (name: string, text: string) => void texts.set(name, text),
  };
};

test('the key is made once, in a file for its owner only, and every request is for the same key', async () => {
  expect(readCredentials(dataDir)).toBeUndefined();
  const request = await certificateRequest(dataDir);
  expect(request).toContain('BEGIN CERTIFICATE REQUEST');
  const key = join(dataDir, 'agent/node.key');
  expect(statSync(key).mode & 0o077).toBe(0);
  const madeAt = statSync(key).mtimeMs;
  await certificateRequest(dataDir);
  expect(statSync(key).mtimeMs).toBe(madeAt);
});

test('a keep in memory does what a folder does', async () => {
  const keep = memory();
  expect(readCredentials(keep)).toBeUndefined();
  await certificateRequest(keep);
  expect([...keep.texts.keys()]).toEqual(['node.key']);
  keep.write('ca.crt', 'authority');
  writeCertificate(keep, 'certificate');
  keep.write('agent.json', JSON.stringify({ node: 'north', server: '192.0.2.1:7443' }));
  expect(readCredentials(keep)).toEqual({
    node: 'north',
    server: '192.0.2.1:7443',
    key: keep.texts.get('node.key'),
    certificate: 'certificate',
    authority: 'authority',
  });
});

test('where a part is gone, the error says what to do', () => {
  const keep = memory();
  keep.write('agent.json', JSON.stringify({ node: 'north', server: '192.0.2.1:7443' }));
  expect(() => readCredentials(keep)).toThrow(/agent\/node\.key is gone: join anew/);
});

test('half a token is told from a whole one', () => {
  const parts = ['192.0.2.1:7443', 'id', 'secret', 'fingerprint'];
  const whole = `skerry-join-${Buffer.from(JSON.stringify(parts)).toString('base64url')}`;
  expect(readToken(whole)).toEqual({
    server: parts[0],
    id: 'id',
    secret: 'secret',
    fingerprint: 'fingerprint',
  });
  expect(() => readToken(whole.slice(0, -9))).toThrow(/not whole/);
});
