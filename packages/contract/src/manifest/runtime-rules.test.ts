import type { SkerryError, WorkloadSpec } from '@skerry/model';
import { expect, test } from 'vitest';
import { fieldOf } from './explain.ts';
import { parseManifests } from './parse.ts';
import { refuseForRuntime } from './runtime-rules.ts';

const of = (spec: Partial<WorkloadSpec>) =>
  refuseForRuntime({ runtime: 'vm', image: 'x', ...spec }).map(
    ({ path, message }) => `${fieldOf(path)}: ${message}`,
  );

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
  const user = (userData: string) => of({ vm: { cloudInit: { userData } } });
  expect(user('#cloud-config\n- a\n- b\n')[0]).toMatch(/not a set of keys/);
  expect(user('#cloud-config\na: *nobody\n')[0]).toMatch(/userData: .*(alias|line 2)/);
  expect(user('#cloud-config\n')).toEqual([]);
  expect(user('#!/bin/sh\n: [\n')).toEqual([]);
  expect(user('#cloud-config-archive\n- type: text/x\n')).toEqual([]);
  expect(of({ vm: { cloudInit: { networkConfig: 'version: 2\nethernets: {}\n' } } })).toEqual([]);
  expect(of({ vm: { cloudInit: { networkConfig: '- a' } } })[0]).toMatch(/^spec.vm.cloudInit.networkConfig/);
});

test('in a file the line of the field is named too', () => {
  const text = `apiVersion: skerry/v1
kind: Workload
metadata: { name: machine }
spec:
  runtime: vm
  image: debian
  vm:
    cloudInit:
      userData: |
        #cloud-config
        users: [
`;
  let thrown: SkerryError | undefined;
  try {
    parseManifests(text);
  } catch (error) {
    thrown = error as SkerryError;
  }
  expect(thrown).toMatchObject({ code: 'manifest_invalid' });
  expect(thrown!.message).toMatch(/^line 9, spec.vm.cloudInit.userData: is not YAML in its line [23]/);
});

test('a BIOS has no secure boot, and a machine no command', () => {
  expect(of({ vm: { firmware: 'bios', secureBoot: true } })).toHaveLength(1);
  expect(of({ vm: { firmware: 'uefi', secureBoot: true } })).toEqual([]);
  expect(of({ command: ['/bin/true'] })[0]).toMatch(/^spec.command/);
});

test('a kernel of its own goes with neither UEFI nor secure boot, and its words are one line', () => {
  const boot = { kernel: 'linux:6', initrd: 'first:6', arguments: 'root=/dev/vda2' };
  expect(of({ vm: { boot } })).toEqual([]);
  expect(of({ vm: { boot, firmware: 'bios' } })).toEqual([]);
  expect(of({ vm: { boot, firmware: 'uefi' } })[0]).toMatch(/^spec.vm.boot: .*without UEFI/);
  expect(of({ vm: { boot, secureBoot: true } })).toEqual([
    expect.stringMatching(/^spec.vm.boot: secure boot/),
  ]);
  const file = (words: string) =>
    parseManifests(`apiVersion: skerry/v1
kind: Workload
metadata: { name: machine }
spec:
  runtime: vm
  image: debian
  vm:
    boot:
      kernel: linux:6
      arguments: ${words}
`);
  expect(() => file('root=/dev/vda2 quiet')).not.toThrow();
  expect(() => file('"a\\nb"')).toThrow(/^line 10, spec.vm.boot.arguments/);
});
