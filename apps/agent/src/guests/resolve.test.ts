// Which guests keep their disk when they are made anew.
import type { DesiredInstance } from '@skerry/contract';
import type { WorkloadSpec } from '@skerry/model';
import { expect, test } from 'vitest';
import { FakeController } from '../testing/fake-controller.ts';
import { guestSpecOf, isLasting } from './resolve.ts';

const rootOf = (template: Partial<WorkloadSpec>, imageDigest: string): string | undefined => {
  const controller = new FakeController();
  const { spec, ...rest } = controller.instances.get(controller.add('one', { template }))!;
  const desired: DesiredInstance = { ...rest, spec: { ...spec, imageDigest } };
  const { root } = guestSpecOf(desired, { attachment: undefined, volumePaths: new Map() });
  expect(isLasting(desired.spec.template)).toBe(root !== undefined);
  return root;
};

test('a machine keeps its disk until its image is another', () => {
  for (const runtime of ['vm', 'system'] as const) {
    expect(rootOf({ runtime }, 'sha256:a')).toBe(rootOf({ runtime }, 'sha256:a'));
    expect(rootOf({ runtime }, 'sha256:a')).not.toBe(rootOf({ runtime }, 'sha256:b'));
  }
});

test('a unikernel with block devices keeps them with any image; containers and other unikernels begin anew', () => {
  const blocks = { runtime: 'unikernel', resources: { disk: '1MiB' } } as const;
  expect(rootOf(blocks, 'sha256:a')).toBe(rootOf(blocks, 'sha256:b'));
  expect(rootOf(blocks, 'sha256:a')).toBeDefined();
  expect(rootOf({ runtime: 'unikernel' }, 'sha256:a')).toBeUndefined();
  expect(rootOf({ runtime: 'container', resources: { disk: '1GiB' } }, 'sha256:a')).toBeUndefined();
});
