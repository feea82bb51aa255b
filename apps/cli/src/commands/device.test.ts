// What `--set` of a shadow means as a merge patch (RFC 7396).
import { expect, test } from 'vitest';
import { patchOf } from './device.ts';

test('settings of a shadow become one patch: numbers, truth and null as JSON has them, the rest as text, paths by dots', () => {
  const settings = ['on=true', 'limit=21.5', 'name=north wing', 'colour.r=1', 'colour.g=null', 'text=a=b'];
  expect(patchOf(settings)).toEqual({
    on: true,
    limit: 21.5,
    name: 'north wing',
    colour: { r: 1, g: null },
    text: 'a=b',
  });
  expect(() => patchOf(['on'])).toThrow('"on" is not of the form name=value');
});
