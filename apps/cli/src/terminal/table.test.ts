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

test('a line longer than the terminal is cut with an ellipsis', () => {
  expect(formatTable([{ name: 'a-long-name-indeed', count: 1 }], columns, 12).split('\n')[1]).toBe(
    'a-long-name…',
  );
});
