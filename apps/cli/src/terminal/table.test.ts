import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatTable } from './table.ts';

const columns = [
  { title: 'NAME', value: (row: { name: string }) => row.name },
  { title: 'COUNT', value: (row: { count?: number }) => row.count, right: true },
];

test('columns line up, numbers to the right, a missing value is a dash', () => {
  expect(formatTable([{ name: 'hello', count: 12 }, { name: 'a' }], columns)).toBe(
    ['NAME    COUNT', 'hello      12', 'a           -'].join('\n'),
  );
});

test('a line longer than the terminal takes from its widest column, and every other one stays whole', () => {
  const rows = [
    { name: 'a-long-name-indeed-and-longer-still', count: 12 },
    { name: 'b', count: 7 },
  ];
  expect(formatTable(rows, columns, 24).split('\n')).toEqual([
    'NAME               COUNT',
    'a-long-name-ind…      12',
    'b                      7',
  ]);
});

test('no line is longer than the terminal, however narrow, and a row is one line without control characters', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ name: fc.string({ unit: 'binary-ascii', maxLength: 90 }), count: fc.nat() }), {
        minLength: 1,
        maxLength: 5,
      }),
      fc.integer({ min: 10, max: 200 }),
      (rows, width) => {
        const lines = formatTable(rows, columns, width).split('\n');
        expect(lines).toHaveLength(rows.length + 1);
        for (const line of lines) {
          expect(line.length).toBeLessThanOrEqual(width);
          expect(line).not.toMatch(/\p{Cc}/u);
        }
      },
    ),
  );
});
