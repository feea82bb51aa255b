import { expect, test } from 'vitest';
import { furtherDigests, imagesNeeded, sameFurther, withoutFurther } from './further-images.ts';

test('an instance needs its own image last, and those beside it that are there', () => {
  expect(imagesNeeded({ imageDigest: 'disk' })).toEqual(['disk']);
  expect(imagesNeeded({ imageDigest: 'disk', initrdDigest: 'initrd', kernelDigest: 'kernel' })).toEqual([
    'kernel',
    'initrd',
    'disk',
  ]);
});

test('what is no longer wished for does not stay', () => {
  const before = { imageDigest: 'disk', kernelDigest: 'kernel', cdromDigest: 'cd' };
  expect(withoutFurther(before)).toEqual({ imageDigest: 'disk' });
  expect(furtherDigests({ kernelDigest: undefined, cdromDigest: 'cd' })).toEqual({ cdromDigest: 'cd' });
  expect(sameFurther(before, { cdromDigest: 'cd' })).toBe(false);
  expect(sameFurther({ kernelDigest: undefined }, {})).toBe(true);
});
