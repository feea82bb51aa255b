import type { WorkloadSpec } from '@skerry/model';
import { expect, test } from 'vitest';
import { misfitsOf } from './fitting.ts';

const of = (spec: Partial<WorkloadSpec>) =>
  misfitsOf({ runtime: 'vm', image: 'x', ...spec }).map(({ field, message }) => `${field}: ${message}`);

test('what only one runtime has is refused on another', () => {
  expect(of({ runtime: 'container', vm: {} })[0]).toMatch(/^spec.vm: only the runtime vm has it/);
  expect(of({ runtime: 'vm', system: {} })[0]).toMatch(/^spec.system/);
  expect(of({ runtime: 'unikernel', display: true })[0]).toMatch(/^spec.display/);
  expect(of({ runtime: 'container', display: false })).toEqual([]);
  expect(of({ runtime: 'system', system: { nesting: true } })).toEqual([]);
});

test('cloud-init data that breaks YAML is refused with its line, and is not repeated', () => {
  const secret = '#cloud-config\nusers:\n  - name: a\n   passwd: hunter2\n';
  const [words] = of({ vm: { cloudInit: { userData: secret } } });
  expect(words).toMatch(/^spec.vm.cloudInit.userData: is not YAML in its line [34]/);
  expect(words).not.toContain('hunter2');
  expect(of({ vm: { cloudInit: { userData: '#cloud-config\n- a\n- b\n' } } })[0]).toMatch(
    /not a set of keys/,
  );
  expect(of({ vm: { cloudInit: { userData: '#cloud-config\n' } } })).toEqual([]);
  expect(of({ vm: { cloudInit: { userData: '#!/bin/sh\n: [\n' } } })).toEqual([]);
  expect(of({ vm: { cloudInit: { networkConfig: 'version: 2\nethernets: {}\n' } } })).toEqual([]);
});

test('a BIOS has no secure boot, and a machine no command', () => {
  expect(of({ vm: { firmware: 'bios', secureBoot: true } })).toHaveLength(1);
  expect(of({ vm: { firmware: 'uefi', secureBoot: true } })).toEqual([]);
  expect(of({ command: ['/bin/true'] })[0]).toMatch(/^spec.command/);
});
