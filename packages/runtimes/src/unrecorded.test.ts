// A guest's folder without its record is nobody's; those with one are left to their runtime.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDataFolder } from '@skerry/host';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { removeUnrecorded } from './unrecorded.ts';

let dataDir: string;
beforeAll(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'skerry-unrecorded-'));
});
afterAll(() => rmSync(dataDir, { recursive: true, force: true }));
const signal = new AbortController().signal;

test('what has no record goes, what has one stays', async () => {
  const identity = openDataFolder(dataDir);
  expect(await removeUnrecorded(identity, signal)).toEqual([]);
  const guests = join(dataDir, 'guests');
  const records = ['container.json', 'docker.json', 'system.json', 'unikernel.json', 'vm.json'];
  for (const [at, record] of records.entries()) {
    mkdirSync(join(guests, `kept-${at}`), { recursive: true });
    writeFileSync(join(guests, `kept-${at}`, record), '{}');
  }
  mkdirSync(join(guests, 'empty'));
  mkdirSync(join(guests, 'half/layer'), { recursive: true });
  writeFileSync(join(guests, 'half/disk.qcow2'), 'x');
  expect((await removeUnrecorded(identity, signal)).sort()).toEqual(['empty', 'half']);
  expect(readdirSync(guests).sort()).toEqual(records.map((_, at) => `kept-${at}`));
});
