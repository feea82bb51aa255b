// Things by what they have in common, whatever is put, moved and deleted.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createGroups } from './groups.ts';

test('a group has what was put there and not deleted since, and an empty one is nothing', () => {
  const group = fc.constantFrom('a', 'b', 'c');
  const id = fc.constantFrom('1', '2', '3', '4');
  const step = fc.record({ group, id, put: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const groups = createGroups<number>();
      const model = new Map<string, number>();
      steps.forEach((one, at) => {
        const key = `${one.group}/${one.id}`;
        if (one.put) {
          groups.put(one.group, one.id, at);
          model.set(key, at);
        } else {
          groups.delete(one.group, one.id);
          model.delete(key);
        }
      });
      for (const name of ['a', 'b', 'c']) {
        const wanted = [...model].filter(([key]) => key.startsWith(`${name}/`)).map(([, value]) => value);
        expect(groups.of(name).sort((a, b) => a - b)).toEqual(wanted.sort((a, b) => a - b));
      }
    }),
  );
});
