// Whichever answer this machine gives, it has its reason, is kept, and leaves nothing running.
import { randomBytes } from 'node:crypto';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { identityOf, processesWithArgument } from '@skerry/host';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type AccelerationOptions, probeAcceleration } from './acceleration.ts';
import { buildNative, buildPebble, kernelPath, supervisorPath } from './testing/bed.ts';

const signal = new AbortController().signal;
let options: AccelerationOptions;
let folder: string;

beforeAll(() => {
  buildNative();
  buildPebble();
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'skerry-acc-'));
  const identity = { ...identityOf(randomBytes(4).toString('hex'), folder), runDir: join(folder, 'run') };
  mkdirSync(identity.runDir);
  options = { identity, kernelPath, supervisorPath };
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('emulation has a reason and a remedy, hardware has none; the probe leaves only its answer', async () => {
  const found = await probeAcceleration(options, signal);
  if (found.kind === 'tcg') {
    expect(found.reason).toMatch(/kvm/);
    expect(found.remedy).toBeTruthy();
  } else expect(found.reason).toBeUndefined();
  expect(readdirSync(options.identity.runDir)).toEqual(['acceleration.json']);
  expect(processesWithArgument(`guest=probe-${options.identity.id}`)).toEqual([]);
  expect(await probeAcceleration(options, signal)).toEqual(found);
});

test('what the guests need and is not there, or can not be read by their user, is named', async () => {
  const closed = join(folder, 'pebble.elf');
  copyFileSync(kernelPath, closed);
  chmodSync(closed, 0o600);
  const messageOf = (changes: Partial<AccelerationOptions>) =>
    probeAcceleration({ ...options, ...changes }, signal).then(
      () => 'fine',
      ({ code, message }: { code: string; message: string }) => `${code}: ${message}`,
    );
  expect(await messageOf({ kernelPath: closed })).toMatch(/^host_missing: .*pebble.elf .*chmod a\+r/);
  expect(await messageOf({ supervisorPath: '/no/such' })).toMatch(/^host_missing: \/no\/such was not built/);
});
