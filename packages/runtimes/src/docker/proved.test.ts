// What the doctor says of an engine that no test ran on.
import { expect, test } from 'vitest';
import type { EngineFacts } from './engine-facts.ts';
import { isOlder, unproved } from './proved.ts';

const facts = (change: Partial<EngineFacts>): EngineFacts => ({
  ...{ flavour: 'docker', version: '20.10.24+dfsg1', cgroupfs: true, mapsUsers: false, filtersCalls: true },
  ...{ keepsContainers: true, storage: 'overlay2 on extfs', rootless: false },
  ...change,
});

test('an engine as the tests have it lacks no proof', () => {
  expect(unproved(facts({}), 'hybrid')).toEqual([]);
  expect(unproved(facts({ flavour: 'podman', version: '4.3.1', storage: 'overlay on extfs' }), 'v1')).toEqual(
    [],
  );
});

test('everything else is named', () => {
  const other = facts({
    version: '28.2.2',
    rootless: true,
    cgroupfs: false,
    mapsUsers: true,
    storage: 'zfs',
  });
  expect(unproved(other, 'v2')).toEqual([
    'its version (20.10 is)',
    'an engine that runs without root',
    'control groups made by systemd',
    'control groups of version 2 alone',
    'users mapped by the engine',
    'storage by zfs',
  ]);
});

test('older is less than the version that is proved, by number', () => {
  const older = (flavour: EngineFacts['flavour'], version: string) => isOlder({ flavour, version });
  expect(
    ['19.03.15', '20.9.0', '20.10.5', '28.0.0-rc.1', '3.0'].map((version) => older('docker', version)),
  ).toEqual([...[true, true, false, false, true]]);
  expect(['3.4.7', '4.3.0', '5.0.0', 'strange'].map((version) => older('podman', version))).toEqual([
    ...[true, false, false, true],
  ]);
});
